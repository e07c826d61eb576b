"""Requests that only running ones keep out wait in line: in order, for a while, and not too many."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from container.stores import SqliteStore
from tests.ledger.support import Ledger, check_balance, header
from tests.thorough import examples
from worker.core.ledger.accounts import Limits, Policy
from worker.core.ledger.admit import AdmissionRequest
from worker.core.ledger.batch import batch
from worker.core.ledger.decision import Result, budget_held, soon
from worker.core.ledger.settle import Report
from worker.core.ledger.waiting_line import WaitingLine

ADMITTED: Result = {"ok": True}


def held(account: str) -> Result:
    return soon(budget_held("held"), account)


class Budget:
    """Lets in `free` requests and counts all attempts."""

    def __init__(self, account: str) -> None:
        self.account = account
        self.free = 0
        self.attempts = 0
        self.admitted: list[str] = []

    def attempt(self, name: str) -> Callable[[], Awaitable[Result]]:
        async def attempt() -> Result:
            self.attempts += 1
            await asyncio.sleep(0)
            if not self.free:
                return held(self.account)
            self.free -= 1
            self.admitted.append(name)
            return ADMITTED

        return attempt


async def quiet() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


class Lined:
    """A line, and the requests that wait in it."""

    def __init__(self, **options: Any) -> None:
        self.line = WaitingLine(**{"patience": 60.0, **options})
        self.tasks: list[asyncio.Task[Result]] = []

    async def waits(
        self, budget: Budget, key: str = "a", name: str = "", size: int = 0, named: Collection[str] = ()
    ) -> asyncio.Task[Result]:
        """Has a request wait that was refused a moment ago."""
        wait = self.line.wait(key, size, budget.attempt(name), held(budget.account), self.line.ended, named)
        task = asyncio.create_task(wait)
        self.tasks.append(task)
        await quiet()
        return task


async def test_a_request_is_admitted_as_soon_as_another_has_ended() -> None:
    lined, budget = Lined(), Budget("key:a")
    task = await lined.waits(budget)
    assert (len(lined.line), budget.attempts) == (1, 0)
    budget.free = 1
    lined.line.wake({"key:a"})
    assert await task == ADMITTED
    assert len(lined.line) == 0


async def test_nobody_tries_again_unless_something_has_ended() -> None:
    lined, budget = Lined(), Budget("key:a")
    await lined.waits(budget)
    await asyncio.sleep(0.05)
    lined.line.wake({"key:b", "user:u"})
    await quiet()
    assert budget.attempts == 0
    lined.line.wake({"global", "key:a"})
    await quiet()
    assert budget.attempts == 1
    lined.line.close()


async def test_a_key_is_served_in_order_and_only_its_first_tries() -> None:
    lined, budget = Lined(), Budget("key:a")
    for name in "123":
        await lined.waits(budget, name=name)
    lined.line.wake({"key:a"})
    await quiet()
    assert budget.attempts == 1
    budget.free = 2
    lined.line.wake({"key:a"})
    await quiet()
    assert budget.admitted == ["1", "2"]
    assert len(lined.line) == 1
    lined.line.close()


async def test_later_requests_do_not_overtake() -> None:
    lined, budget = Lined(), Budget("key:a")
    await lined.waits(budget, name="first")
    budget.free = 1
    second = asyncio.create_task(lined.line.wait("a", 0, budget.attempt("second"), None, lined.line.ended))
    await quiet()
    assert budget.attempts == 0
    lined.line.wake({"key:a"})
    await quiet()
    assert budget.admitted == ["first"]
    budget.free = 1
    lined.line.wake({"key:a"})
    assert await second == ADMITTED


async def test_one_keys_line_does_not_block_anothers() -> None:
    lined, one, other = Lined(), Budget("key:a"), Budget("key:b")
    await lined.waits(one, "a")
    task = await lined.waits(other, "b")
    other.free = 1
    lined.line.wake({"key:b"})
    assert await task == ADMITTED
    assert one.attempts == 0
    lined.line.close()


async def test_an_end_user_holds_up_only_itself() -> None:
    lined, one, other = Lined(), Budget("end_user:1"), Budget("key:a")
    first = await lined.waits(one, "a", "first", named={"end_user:1"})
    second = await lined.waits(one, "a", "second", named={"end_user:1"})
    assert lined.line.has("a", {"end_user:1"})
    assert not lined.line.has("a", {"end_user:2"})
    task = await lined.waits(other, "a", named={"end_user:2"})
    assert lined.line.has("a", {"end_user:2"})
    other.free = 1
    lined.line.wake({"key:a"})
    assert await task == ADMITTED
    assert (one.attempts, lined.line.has("a")) == (0, False)
    one.free = 2
    lined.line.wake({"end_user:1"})
    assert [await first, await second] == [ADMITTED, ADMITTED]
    assert one.admitted == ["first", "second"]


async def test_who_waits_behind_an_end_user_tries_once_that_is_known() -> None:
    lined, one, other = Lined(), Budget("end_user:1"), Budget("key:a")
    await lined.waits(one, "a", named={"end_user:1"})
    attempt, refused = one.attempt(""), asyncio.Event()

    async def slow() -> Result:
        await refused.wait()
        return await attempt()

    line = lined.line
    lined.tasks.append(asyncio.create_task(line.wait("b", 0, slow, None, line.ended, {"end_user:1"})))
    await quiet()
    assert line.has("b"), "its account is not known yet"
    other.free = 1
    task = asyncio.create_task(line.wait("b", 0, other.attempt(""), None, line.ended))
    await quiet()
    assert other.attempts == 0
    refused.set()
    assert await task == ADMITTED
    line.close()


async def test_keys_that_share_an_account_are_served_by_arrival() -> None:
    lined, everyone = Lined(), Budget("global")
    for key, name in (("a", "1"), ("b", "2"), ("a", "3")):
        await lined.waits(everyone, key, name)
    for _ in range(3):
        everyone.free = 1
        lined.line.wake({"global"})
        await quiet()
    assert everyone.admitted == ["1", "2", "3"]


async def test_what_ends_during_an_attempt_is_not_missed() -> None:
    lined, budget = Lined(), Budget("key:a")
    before = lined.line.ended
    lined.line.wake({"key:a"})
    budget.free = 1
    assert await lined.line.wait("a", 0, budget.attempt("early"), held("key:a"), before) == ADMITTED
    task = await lined.waits(budget)
    lined.line.wake({"key:a"})
    await asyncio.sleep(0)  # the attempt has begun
    await asyncio.sleep(0)
    budget.free = 1
    lined.line.wake({"key:a"})
    assert await task == ADMITTED


async def test_after_a_while_the_last_refusal_is_returned() -> None:
    lined, budget = Lined(patience=0.02), Budget("key:a")
    refused = await (await lined.waits(budget))
    assert (refused["status"], refused["soon"], refused["retry_after"]) == (429, "key:a", 1)
    assert len(lined.line) == 0


async def test_without_patience_a_request_is_refused_at_once() -> None:
    lined, budget = Lined(patience=0), Budget("key:a")
    assert (await (await lined.waits(budget)))["status"] == 429
    assert budget.attempts == 0


async def test_who_is_never_first_is_told_to_come_back() -> None:
    lined, budget = Lined(patience=0.02), Budget("key:a")
    await lined.waits(budget)
    refused = await lined.line.wait("a", 0, budget.attempt("late"), None, lined.line.ended)
    assert (refused["status"], header(refused, "retry-after")) == (429, "1")


async def test_a_client_that_leaves_leaves_the_line() -> None:
    lined, budget = Lined(), Budget("key:a")
    first = await lined.waits(budget, name="first")
    second = await lined.waits(budget, name="second")
    budget.free = 1
    first.cancel()
    assert await second == ADMITTED
    assert (budget.admitted, len(lined.line), lined.line.has("a")) == (["second"], 0, False)


async def test_an_error_of_one_attempt_does_not_stop_the_line() -> None:
    lined, budget = Lined(), Budget("key:a")

    async def fails() -> Result:
        raise OSError

    failing = asyncio.create_task(lined.line.wait("a", 0, fails, held("key:a"), lined.line.ended))
    await quiet()
    second = await lined.waits(budget, name="second")
    budget.free = 1
    lined.line.wake({"key:a"})
    with pytest.raises(OSError):
        await failing
    assert await second == ADMITTED


async def test_at_a_shutdown_everyone_is_told_to_come_back() -> None:
    lined, budget = Lined(), Budget("key:a")
    waiting = [await lined.waits(budget) for _ in range(3)]
    lined.line.close()
    for task in waiting:
        refused = await task
        assert (refused["status"], header(refused, "retry-after")) == (503, "1")
    assert (await (await lined.waits(budget)))["status"] == 429
    assert len(lined.line) == 0


async def test_the_number_of_waiting_requests_is_bounded() -> None:
    lined, budget = Lined(most=4), Budget("key:a")
    tasks = [await lined.waits(budget, key) for key in "aaabbb"]
    assert [task.done() for task in tasks] == [False, False, True, False, False, True]
    assert len(lined.line) == 4
    lined.line.close()


async def test_the_bodies_of_waiting_requests_are_bounded() -> None:
    lined, budget = Lined(most_bytes=100), Budget("key:a")
    tasks = [await lined.waits(budget, key, size=size) for key, size in (("a", 30), ("a", 30), ("b", 50), ("c", 30))]
    assert [task.done() for task in tasks] == [False, True, False, True]
    lined.line.close()
    await quiet()
    assert len(lined.line) == 0


async def test_other_processes_are_asked_now_and_then() -> None:
    lined, budget = Lined(poll=0.02), Budget("key:a")
    task = await lined.waits(budget)
    await asyncio.sleep(0.1)
    assert 2 <= budget.attempts <= 10
    budget.free = 1
    assert await task == ADMITTED
    attempts = budget.attempts
    await asyncio.sleep(0.05)
    assert budget.attempts == attempts


class Event(NamedTuple):
    """`kind`: a request "asks", a running one "ends" (having cost a percentage of its reservation), or one that waits
    "leaves"."""

    kind: str
    key: int
    amount: int
    lowest: int
    share: int


EVENTS = st.lists(
    st.builds(
        Event,
        st.sampled_from(["asks", "asks", "asks", "ends", "ends", "leaves"]),
        st.integers(0, 2),
        st.integers(0, 900),
        st.integers(0, 100),
        st.integers(0, 100),
    ),
    max_size=30,
)
KEYS: list[dict[str, Any]] = [
    {"max_budget": 1000e-9, "user_id": "ada"},
    {"max_budget": 700e-9, "max_parallel_requests": 2},
    {"user_id": "ada"},
]
POLICY = Policy(everyone=Limits(max_budget=1500), each_user=Limits(max_budget=1200))


class Running(NamedTuple):
    request: AdmissionRequest
    amount: int


class Desk:
    """Requests of three keys on one ledger, some of them waiting."""

    def __init__(self, store: SqliteStore) -> None:
        self.ledger = Ledger(store, POLICY)
        self.line = WaitingLine(60.0)
        self.running: list[Running] = []
        self.waiting: list[tuple[int, AdmissionRequest, asyncio.Task[None]]] = []
        self.admitted: list[list[str]] = [[], [], []]

    async def ask(self, key: int, secret: str, event: Event) -> None:
        lowest = event.amount * event.lowest // 100
        steps = [(1, lowest, 0), (50, event.amount, 0)]
        request = self.ledger.request(secret, event.amount, steps=steps)

        async def attempt() -> Result:
            _, (result,) = await self.ledger.batch((), [request])
            if result["ok"]:
                self.running.append(Running(request, result.get("amount", event.amount)))
                self.admitted[key].append(request.id)
            return result

        async def admit() -> None:
            ended, result = self.line.ended, None
            if not self.line.has(secret):
                result = await attempt()
                if "soon" not in result:
                    return
            await self.line.wait(secret, 0, attempt, result, ended)

        task = asyncio.create_task(admit())
        self.waiting.append((key, request, task))
        await quiet()

    async def end(self, event: Event) -> None:
        if self.running:
            request, amount = self.running.pop(event.amount % len(self.running))
            report = Report(request.id, "one", amount * event.share // 100)
            decision = batch(self.ledger.store.dialect, POLICY, [report], (), self.ledger.now)
            self.line.wake((await self.ledger.store.run(decision))["ended"])
            await quiet()

    async def leave(self, event: Event) -> None:
        waiting = [task for _, _, task in self.waiting if not task.done()]
        if waiting:
            waiting[event.amount % len(waiting)].cancel()
            await quiet()

    async def check(self, secrets: list[str]) -> None:
        await check_balance(self.ledger.store)
        for limit, fields in ((1500, None), (1000, 0), (700, 1)):
            mine = [one for one in self.running if fields is None or secrets[fields] == self.secret(one, secrets)]
            assert sum(one.amount for one in mine) <= limit
        info = await self.ledger.info(secrets[0])
        assert round((info["spend"] + info["reserved"]) * 1e9) <= 1000
        for key in range(3):
            asked = [request.id for whose, request, _ in self.waiting if whose == key]
            assert [id for id in asked if id in self.admitted[key]] == self.admitted[key], "in order of arrival"
            first = next((r for whose, r, task in self.waiting if whose == key and not task.done()), None)
            if first is not None:  # it would not be admitted if it tried again
                _, (result,) = await self.ledger.batch((), [first])
                assert "soon" in result

    def secret(self, one: Running, secrets: list[str]) -> str:
        return next(s for s in secrets if self.ledger.request(s).secret_hash == one.request.secret_hash)


@settings(max_examples=examples(60, 30), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EVENTS)
def test_whatever_happens_budgets_hold_and_nobody_waits_in_vain(events: list[Event]) -> None:
    async def run() -> None:
        store = SqliteStore(":memory:")
        await store.open()
        desk = Desk(store)
        secrets = [await desk.ledger.key(**fields) for fields in KEYS]
        for event in events:
            if event.kind == "asks":
                await desk.ask(event.key, secrets[event.key], event)
            elif event.kind == "ends":
                await desk.end(event)
            else:
                await desk.leave(event)
            await desk.check(secrets)
        desk.line.close()
        await asyncio.gather(*(task for _, _, task in desk.waiting), return_exceptions=True)
        assert len(desk.line) == 0
        await store.close()

    asyncio.run(run())
