"""Property test: in any order of events budgets hold, and nothing is counted twice or lost.

The oracle keeps no counters. It adds up its own list of requests each time.
"""

import asyncio
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from container.stores import PostgresStore, SqliteStore, Store
from tests.ledger.durable_store import DurableObjects, DurableStore
from tests.ledger.support import BrokenOff, Ledger, breaking_off, check_balance, query
from tests.thorough import examples
from worker.core.ledger import key_admin
from worker.core.ledger.accounts import Limits, Policy
from worker.core.ledger.admit import AdmissionRequest
from worker.core.ledger.batch import batch
from worker.core.ledger.decision import Decision
from worker.core.ledger.expiry import expire, expire_instance, next_deadlines
from worker.core.ledger.settle import Report, renew
from worker.core.values import periods

LEASE = 20 * periods.MINUTE
INSTANCES = ("one", "two")
POLICY = Policy(
    everyone=Limits(max_budget=1000, duration="1d"),
    each_user=Limits(max_budget=700, duration="7d"),
    each_end_user=Limits(max_budget=450, duration="1h"),
    accounts={
        "provider:x": Limits(max_budget=500, duration="1d", tpm=220),
        "provider:y": Limits(max_budget=300, parallel=2),
        "model:m": Limits(max_budget=420, duration="1h", rpm=4),
    },
)
OWNERS: dict[str, dict[str, Any]] = {
    "team:blue": {"max_budget": 800, "budget_duration": "1d"},
    "team:red": {"max_budget": 500, "budget_duration": "1h"},
    "tag:a": {"max_budget": 650, "budget_duration": "1h"},
    "tag:b": {"max_budget": 550, "budget_id": "monthly"},
    "end_user:1": {"max_budget": 350},
}
KEYS: list[dict[str, Any]] = [
    {"max_budget": 400e-9, "budget_duration": "1h", "max_parallel_requests": 3, "user_id": "ada", "tags": ["a"]},
    {"user_id": "ada", "tpm_limit": 100},
    {"max_budget": 600e-9, "rpm_limit": 4, "tags": ["a", "b"]},
    {"max_budget": 500e-9, "keep_output_limit": True},
]
TEAMS = ("", "blue", "red")
CANDIDATES: list[tuple[tuple[str, ...], ...]] = [
    (),
    (("provider:x",), ()),
    (("provider:x", "model:m"), ("provider:y", "model:m")),
    (("provider:x", "model:m"), ("provider:y",)),
]
# Of each account, its budget and period.
LIMITS: dict[str, tuple[int, str | None]] = {
    "global": (1000, "1d"),
    "user:ada": (700, "7d"),
    "team:blue": (800, "1d"),
    "team:red": (500, "1h"),
    "tag:a": (650, "1h"),
    "tag:b": (550, "30d"),
    "end_user:1": (350, None),
    "end_user:2": (450, "1h"),
    "provider:x": (500, "1d"),
    "provider:y": (300, None),
    "model:m": (420, "1h"),
    "key:0": (400, "1h"),
    "key:2": (600, None),
    "key:3": (500, None),
}
KEEPS = 3
WANTED = 20


class Asked(NamedTuple):
    """`lowest`: the percentage of amount and tokens that the lowest output limit of 1 costs instead of WANTED; None if
    the limit cannot be lowered. `end_user`, `tags`, `candidates`: as in AdmissionRequest."""

    key: int | None
    amount: int
    tokens: int
    instance: str
    lowest: int | None
    end_user: str = ""
    tags: tuple[str, ...] = ()
    candidates: tuple[tuple[str, ...], ...] = ()

    def at(self, limit: int) -> tuple[int, int]:
        """Amount and tokens with this output limit: on a line from the lowest to the highest, rounded up."""
        if self.lowest is None:
            return self.amount, self.tokens
        least = [n * self.lowest // 100 for n in (self.amount, self.tokens)]
        more = [n - m for n, m in zip((self.amount, self.tokens), least, strict=True)]
        amount, tokens = (m + -(-n * (limit - 1) // (WANTED - 1)) for m, n in zip(least, more, strict=True))
        return amount, tokens


REQUEST = st.builds(
    Asked,
    st.sampled_from([0, 0, 1, 2, 3, None]),
    st.integers(0, 450),
    st.integers(0, 150),
    st.sampled_from(INSTANCES),
    st.none() | st.integers(0, 100),
    st.sampled_from(["", "", "1", "2"]),
    st.sampled_from([(), (), ("b",), ("b", "unlimited")]),
    st.sampled_from(CANDIDATES),
)
# What answered: its provider and its model, as the report says it.
ANSWERED = st.sampled_from(
    [
        {"provider": None, "deployment": "of an older container"},
        {"provider": ""},
        {"provider": "x", "answered_by": "m"},
        {"provider": "y", "answered_by": "an alias", "group": "m"},
        {"provider": "y", "answered_by": "other"},
    ]
)


class Request(NamedTuple):
    id: str
    key: int | None
    instance: str
    amount: int
    tokens: int
    created: int
    expires: int
    draws: frozenset[str]
    state: str = "open"
    charged: int = 0
    used: int = 0

    @property
    def counts(self) -> int:
        return self.amount if self.state == "open" else self.charged


class Machine(RuleBasedStateMachine):
    """`make` opens the store under test, and opens it again after a crash."""

    loop: asyncio.AbstractEventLoop
    make: Any

    def __init__(self) -> None:
        super().__init__()
        self.requests: dict[str, Request] = {}
        self.store: Store = self.wait(type(self).make(fresh=True))
        self.ledger = Ledger(self.store, POLICY)

    def wait(self, awaitable: Any) -> Any:
        return type(self).loop.run_until_complete(awaitable)

    @initialize()
    def make_keys(self) -> None:
        self.keys = [self.wait(self.ledger.key(**fields)) for fields in KEYS]
        self.teams = [""] * len(KEYS)
        self.wait(self.ledger.budget("monthly", max_budget=1, budget_duration="30d"))
        for account, columns in OWNERS.items():
            self.wait(self.ledger.owner(account, **columns))

    @rule(key=st.integers(0, len(KEYS) - 1), team=st.sampled_from(TEAMS))
    def change_team(self, key: int, team: str) -> None:
        """What already runs is settled where it was reserved."""
        body = {"key": self.keys[key], "team_id": team or None}
        result = self.wait(self.store.run(key_admin.update(self.store.dialect, body, self.ledger.now)))
        assert result["ok"], result
        self.teams[key] = team

    @rule(request=REQUEST)
    def admit(self, request: Asked) -> None:
        _, (result,) = self.wait(self.ledger.batch((), [self.request(request)]))
        self.decided(request, result)

    def request(self, asked: Asked) -> AdmissionRequest:
        key, amount, tokens, instance, lowest, end_user, tags, candidates = asked
        text = None if key is None else self.keys[key]
        steps = () if lowest is None else [(limit, *asked.at(limit)) for limit in (1, WANTED)]
        said = {"end_user": end_user, "tags": json.dumps(tags) if tags else "", "candidates": candidates}
        return self.ledger.request(text, amount, tokens=tokens, instance=instance, lease=LEASE, steps=steps, **said)

    def decided(self, asked: Asked, result: dict[str, Any]) -> None:
        key, limit = asked.key, self.fitting(asked)
        amount, tokens = asked.at(limit)
        exhausted = {id for some in asked.candidates for id in some if not self.has_room(id, amount, tokens)}
        open = [some for some in asked.candidates if exhausted.isdisjoint(some)]
        routable = bool(open) or not asked.candidates
        assert result["ok"] == (self.allowed(asked, amount, tokens) and routable), result
        if result["ok"]:
            assert set(result.get("exhausted", ())) == exhausted
            draws = frozenset((*self.drawn(asked), *(id for some in open for id in some)))
            assert result.get("output_limit", WANTED) == limit
            assert result.get("amount", asked.amount) == amount
            instance = asked.instance
            now = self.ledger.now
            self.requests[result["reservation"]] = Request(
                result["reservation"], key, instance, amount, tokens, now, now + LEASE, draws
            )
            for id in LIMITS:
                assert self.left(id) >= 0, id

    def fitting(self, asked: Asked) -> int:
        """The highest output limit that leaves no budget overspent, 1 if there is none."""
        tpm = (KEYS[asked.key] if asked.key is not None else {}).get("tpm_limit")
        if asked.lowest is None or asked.key == KEEPS:
            return WANTED
        for limit in range(WANTED, 0, -1):
            amount, tokens = asked.at(limit)
            minute = tpm is None or asked.tokens <= tpm or self.used(asked.key) + tokens <= tpm
            if minute and all(self.left(id) >= amount for id in self.drawn(asked)):
                return limit
        return 1

    def used(self, key: int | None) -> int:
        """The tokens of this minute."""
        minute = [r for r in self.requests.values() if r.key == key and self.is_now(r)]
        return sum(r.used if r.state == "settled" else r.tokens for r in minute)

    def is_now(self, request: Request) -> bool:
        return request.created // periods.MINUTE == self.ledger.now // periods.MINUTE

    def allowed(self, asked: Asked, amount: int, tokens: int) -> bool:
        key = asked.key
        if any(self.left(id) < amount for id in self.drawn(asked)):
            return False
        own = [r for r in self.requests.values() if r.key == key]
        minute = [r for r in own if self.is_now(r)]
        fields = KEYS[key] if key is not None else {}
        running = sum(r.state == "open" for r in own)
        return (
            running < fields.get("max_parallel_requests", 1000)
            and len(minute) < fields.get("rpm_limit", 1000)
            and self.used(key) + tokens <= fields.get("tpm_limit", 1000)
        )

    def drawn(self, asked: Asked) -> list[str]:
        """The ids of the accounts with a budget that pay for the request, besides its candidates'."""
        found = ["global", *(f"tag:{tag}" for tag in asked.tags)]
        if asked.end_user:
            found.append(f"end_user:{asked.end_user}")
        if asked.key is not None:
            fields = KEYS[asked.key]
            found += [f"key:{asked.key}", f"user:{fields.get('user_id')}", f"team:{self.teams[asked.key]}"]
            found += [f"tag:{tag}" for tag in fields.get("tags", ())]
        return [id for id in dict.fromkeys(found) if id in LIMITS]

    def left(self, account: str) -> int:
        """What is neither spent nor reserved in the account's current period."""
        limit, duration = LIMITS[account]
        begin = periods.start(duration, self.ledger.now)
        some = (r for r in self.requests.values() if account in r.draws and r.created >= begin)
        return limit - sum(r.counts for r in some)

    def has_room(self, account: str, amount: int, tokens: int) -> bool:
        """Whether a candidate's account can pay, within its rates."""
        limit = POLICY.accounts[account]
        own = [r for r in self.requests.values() if account in r.draws]
        minute = [r for r in own if self.is_now(r)]
        used = sum(r.used if r.state == "settled" else r.tokens for r in minute)
        return (
            self.left(account) >= amount
            and (limit.rpm is None or len(minute) < limit.rpm)
            and (limit.tpm is None or used + tokens <= limit.tpm)
            and (limit.parallel is None or sum(r.state == "open" for r in own) < limit.parallel)
        )

    def some(self, data: Any) -> Request | None:
        """Picks a request by its index. Ids are random, and drawn values must not depend on them."""
        if not self.requests:
            return None
        place = data.draw(st.integers(0, len(self.requests) - 1))
        return list(self.requests.values())[place]

    @rule(
        data=st.data(),
        share=st.integers(0, 100),
        used=st.integers(0, 60),
        instance=st.sampled_from(INSTANCES),
        answered=ANSWERED,
    )
    def settle(self, data: Any, share: int, used: int, instance: str, answered: dict[str, Any]) -> None:
        request = self.some(data)
        if request is None:
            return
        cost = request.amount * share // 100
        outcome = self.wait(self.ledger.settle(request.id, cost, instance, completion_tokens=used, **answered))
        self.settled(request, cost, used, instance, answered, outcome)

    def settled(
        self, request: Request, cost: int, used: int, instance: str, answered: dict[str, Any], outcome: str
    ) -> None:
        if instance != request.instance:
            assert outcome == "foreign"
        elif request.state == "settled":
            assert outcome == "duplicate"
        else:
            assert outcome == "settled"
            draws = request.draws
            if answered["provider"] is not None:  # what did not answer is charged nothing
                model = answered.get("group") or answered.get("answered_by")
                used_ones = {f"provider:{answered['provider']}", f"model:{model}"}
                draws = frozenset(id for id in draws if id not in POLICY.accounts or id in used_ones)
            self.requests[request.id] = request._replace(state="settled", charged=cost, used=used, draws=draws)

    @rule(
        data=st.data(),
        reports=st.lists(
            st.tuples(st.integers(0, 100), st.integers(0, 60), st.sampled_from(INSTANCES), ANSWERED), max_size=5
        ),
        requests=st.lists(REQUEST, max_size=6),
        breaks_off=st.one_of(st.none(), st.integers(0, 7)),
    )
    def batch(
        self,
        data: Any,
        reports: list[tuple[int, int, str, dict[str, Any]]],
        requests: list[Asked],
        breaks_off: int | None,
    ) -> None:
        """A batch has the same results as its parts one after another. With `breaks_off` the process dies before that
        statement and the batch has no effect.
        """
        about = [(found, *report) for report in reports if (found := self.some(data)) is not None]
        decision = batch(
            self.store.dialect,
            POLICY,
            [
                Report(r.id, i, r.amount * share // 100, completion_tokens=used, **answered)
                for r, share, used, i, answered in about
            ],
            [self.request(asked) for asked in requests],
            self.ledger.now,
        )
        if breaks_off is not None:
            with pytest.raises(BrokenOff):
                self.wait(self.store.run(Decision(breaking_off(decision.steps, breaks_off), whole=True)))
            return
        result = self.wait(self.store.run(decision))
        for (request, share, used, instance, answered), outcome in zip(about, result["outcomes"], strict=True):
            cost = request.amount * share // 100
            self.settled(self.requests[request.id], cost, used, instance, answered, outcome)
        for asked, found in zip(requests, result["results"], strict=True):
            self.decided(asked, found)

    @rule()
    def settle_nothing(self) -> None:
        assert self.wait(self.ledger.settle("never-made", 10)) == "unknown"

    @rule()
    def expire(self) -> None:
        result = self.wait(self.store.run(expire(self.store.dialect, self.ledger.now)))
        over = [r for r in self.requests.values() if r.state == "open" and r.expires <= self.ledger.now]
        self.end(over, result["expired"])
        left = [r.expires for r in self.requests.values() if r.state == "open"]
        assert self.wait(self.store.run(next_deadlines()))["reservation"] == (min(left) if left else None)

    @rule(instance=st.sampled_from(INSTANCES))
    def instance_dies(self, instance: str) -> None:
        result = self.wait(self.store.run(expire_instance(self.store.dialect, instance, self.ledger.now)))
        gone = [r for r in self.requests.values() if r.state == "open" and r.instance == instance]
        self.end(gone, result["expired"])

    def end(self, requests: list[Request], expired: int) -> None:
        assert expired == len(requests)
        for request in requests:
            self.requests[request.id] = request._replace(state="expired", charged=request.amount)

    @rule(instance=st.sampled_from(INSTANCES))
    def renew(self, instance: str) -> None:
        expires = self.ledger.now + LEASE
        self.wait(self.store.run(renew(instance, sorted(self.requests), expires)))
        for request in self.requests.values():
            if request.instance == instance and request.state == "open":
                self.requests[request.id] = request._replace(expires=max(expires, request.expires))

    @rule(step=st.sampled_from([1000, 20_000, periods.MINUTE, periods.HOUR, periods.DAY, 5 * periods.DAY]))
    def time_passes(self, step: int) -> None:
        self.ledger.now += step

    @rule()
    def crash_and_reload(self) -> None:
        self.store = self.ledger.store = self.wait(type(self).make(fresh=False))

    @invariant()
    def balanced(self) -> None:
        self.wait(check_balance(self.store))


def explore(machine: type[Machine], count: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=count,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
            phases=[Phase.generate, Phase.shrink],
            print_blob=True,
        ),
    )


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.mark.timeout(300)
def test_any_interleaving_in_memory(loop: asyncio.AbstractEventLoop) -> None:
    class InMemory(Machine):
        current: SqliteStore | None = None

        @classmethod
        async def make(cls, *, fresh: bool) -> Store:
            """Memory has nothing to reload from."""
            if fresh or cls.current is None:
                cls.current = SqliteStore(":memory:")
                await cls.current.open()
            return cls.current

    InMemory.loop = loop
    explore(InMemory, examples(200, 60))


@pytest.mark.timeout(300)
def test_any_interleaving_in_a_file(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    class InFile(Machine):
        count = 0
        current: SqliteStore | None = None

        @classmethod
        async def make(cls, *, fresh: bool) -> Store:
            cls.count += fresh
            if cls.current is not None:
                await cls.current.close()
            cls.current = SqliteStore(tmp_path / f"ledger-{cls.count}.db")
            await cls.current.open()
            return cls.current

    InFile.loop = loop
    explore(InFile, examples(80, 30))
    assert InFile.current is not None
    loop.run_until_complete(InFile.current.close())


@pytest.mark.timeout(300)
def test_any_interleaving_in_postgres(loop: asyncio.AbstractEventLoop, new_database) -> None:
    url = new_database()

    class InPostgres(Machine):
        current: PostgresStore | None = None

        @classmethod
        async def make(cls, *, fresh: bool) -> Store:
            if cls.current is not None:
                await cls.current.close()
            cls.current = PostgresStore(url, connections=2)
            await cls.current.open()
            if fresh:
                await _empty(cls.current)
            return cls.current

    InPostgres.loop = loop
    explore(InPostgres, examples(30, 12))
    assert InPostgres.current is not None
    loop.run_until_complete(InPostgres.current.close())


@pytest.mark.timeout(300)
def test_any_interleaving_in_a_durable_object(loop: asyncio.AbstractEventLoop, durable_objects: DurableObjects) -> None:
    class InADurableObject(Machine):
        current: DurableStore | None = None

        @classmethod
        async def make(cls, *, fresh: bool) -> Store:
            if fresh or cls.current is None:
                if cls.current is not None:
                    await cls.current.close()
                cls.current = DurableStore(durable_objects.edge.url, durable_objects.new_name())
                await cls.current.open()
            else:
                await cls.current.reload()
            return cls.current

    InADurableObject.loop = loop
    explore(InADurableObject, examples(12, 6))
    assert InADurableObject.current is not None
    loop.run_until_complete(InADurableObject.current.close())


async def _empty(store: Store) -> None:
    for table in ("keys", "secrets", "periods", "requests", "alerts", "accounts"):
        await query(store, f"DELETE FROM ledger_{table}")
    await query(store, "INSERT INTO ledger_accounts (id) VALUES ('global')")
