"""Rate limits, budgets and their refusals, on every store."""

import pytest

from container.stores import Store
from tests.ledger.support import NOON, Ledger, check_balance, header
from worker.core.ledger import spend
from worker.core.ledger.accounts import Limits, Policy
from worker.core.ledger.expiry import expire, expire_instance, expire_others
from worker.core.ledger.settle import bind, renew
from worker.core.ledger.spend import Wanted, over_time
from worker.core.values import periods


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


async def test_requests_per_minute(ledger: Ledger) -> None:
    key = await ledger.key(rpm_limit=2)
    first = await ledger.admit(key)
    assert header(first, "x-ratelimit-limit-requests") == "2"
    assert header(first, "x-ratelimit-remaining-requests") == "1"
    assert header(first, "x-ratelimit-reset-requests") == "30s"
    await ledger.admit(key)
    third = await ledger.admit(key)
    assert (third["status"], third["type"], third["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert (third["retry_after"], header(third, "retry-after")) == (30, "30")
    assert header(third, "x-ratelimit-remaining-requests") == "0"
    ledger.now += 30_000
    assert (await ledger.admit(key))["ok"]


async def test_tokens_per_minute_are_corrected_at_settlement(ledger: Ledger) -> None:
    key = await ledger.key(tpm_limit=100)
    first = await ledger.admit(key, tokens=80)
    assert first["limited"]
    assert header(first, "x-ratelimit-remaining-tokens") == "20"
    assert (await ledger.admit(key, tokens=30))["status"] == 429
    await ledger.settle(first["reservation"], 0, prompt_tokens=5, completion_tokens=5)
    assert header(await ledger.admit(key, tokens=30), "x-ratelimit-remaining-tokens") == "60"


async def test_a_request_that_can_never_fit_says_so(ledger: Ledger) -> None:
    key = await ledger.key(tpm_limit=100)
    refused = await ledger.admit(key, tokens=101)
    assert "max_tokens" in refused["message"]
    assert header(refused, "x-should-retry") == "false"


async def test_parallel_requests(ledger: Ledger) -> None:
    key = await ledger.key(max_parallel_requests=1)
    running = await ledger.admit(key)
    refused = await ledger.admit(key)
    assert (refused["status"], refused["retry_after"]) == (429, 1)
    await ledger.settle(running["reservation"], 0)
    assert (await ledger.admit(key))["ok"]


async def test_an_expired_request_frees_its_slot(ledger: Ledger) -> None:
    key = await ledger.key(max_parallel_requests=1)
    await ledger.admit(key, lease=1000)
    ledger.now += 1000
    assert (await ledger.store.run(expire(ledger.store.dialect, ledger.now)))["expired"] == 1
    assert (await ledger.admit(key))["ok"]


async def test_a_refused_request_is_not_counted(ledger: Ledger) -> None:
    key = await ledger.key(rpm_limit=1, max_budget=1e-6)
    assert (await ledger.admit(key, 1001))["code"] == "budget_exceeded"
    assert (await ledger.admit(key, 1000))["ok"]


async def test_a_budget_is_exhausted_and_resets(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=1e-6, budget_duration="1h", key_alias="bot")
    first = await ledger.admit(key, 700)
    assert first["limited"]
    refused = await ledger.admit(key, 1001)
    assert (refused["status"], refused["type"]) == (429, "budget_exceeded")
    assert refused["retry_after"] == 3600 - 30
    assert header(refused, "x-should-retry") == "false"
    assert "'bot'" in refused["message"]
    assert "2026-11-20T13:00:00.000Z" in refused["message"]
    ledger.now += periods.HOUR
    assert (await ledger.admit(key, 400))["ok"]
    # From the hour before, so it does not count in this one.
    await ledger.settle(first["reservation"], 650)
    info = await ledger.info(key)
    assert (info["spend"], info["reserved"], info["total_spend"]) == (0, 400e-9, 650e-9)
    await check_balance(ledger.store)


async def test_an_idle_account_shows_its_new_period(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=1, budget_duration="1h")
    await ledger.settle((await ledger.admit(key, 700))["reservation"], 700)
    ledger.now += periods.HOUR
    info = await ledger.info(key)
    assert (info["spend"], info["total_spend"]) == (0, 700e-9)


async def test_without_a_budget_period_there_is_no_retry_after(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=0)
    refused = await ledger.admit(key, 1)
    assert refused["retry_after"] is None
    assert header(refused, "retry-after") is None
    assert (await ledger.admit(key, 0))["ok"]


async def test_the_master_key_counts_toward_the_global_budget(store: Store) -> None:
    ledger = Ledger(store, Policy(everyone=Limits(max_budget=1000, duration="1d")))
    key = await ledger.key()
    assert (await ledger.admit(None, 600))["ok"]
    refused = await ledger.admit(key, 500)
    assert "this gateway" in refused["message"]
    assert (await ledger.admit(None, 401))["status"] == 429
    shown = await store.run(spend.everything(ledger.policy, ledger.now))
    assert (shown["body"]["reserved"], shown["body"]["max_budget"]) == (600e-9, 1e-6)


async def test_a_users_keys_share_a_budget(store: Store) -> None:
    policy = Policy(each_user=Limits(max_budget=1000), users={"eve": Limits(max_budget=0)})
    ledger = Ledger(store, policy)
    first, second, third = [await ledger.key(user_id=user) for user in ("ada", "ada", "eve")]
    assert (await ledger.admit(first, 600))["ok"]
    assert "user 'ada'" in (await ledger.admit(second, 600))["message"]
    assert not (await ledger.admit(third, 1))["ok"]


async def test_an_unknown_price_is_refused_only_under_a_budget(store: Store) -> None:
    ledger = Ledger(store)
    free, bound = await ledger.key(), await ledger.key(max_budget=1)
    assert (await ledger.admit(free, None))["ok"]
    refused = await ledger.admit(bound, None, unpriced="Set a price.")
    assert (refused["status"], refused["code"], refused["message"]) == (400, "price_unknown", "Set a price.")
    ledger.policy = Policy(everyone=Limits(max_budget=10**9))
    assert (await ledger.admit(free, None))["code"] == "price_unknown"
    assert (await ledger.admit(None, None))["code"] == "price_unknown"


async def test_an_unknown_key_is_refused(ledger: Ledger) -> None:
    refused = await ledger.admit("sk-unknown")
    assert (refused["status"], header(refused, "www-authenticate")) == (401, "Bearer")


async def test_a_late_report_replaces_the_charge_of_an_expired_reservation(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=1)
    id = (await ledger.admit(key, 1000, lease=1000))["reservation"]
    ledger.now += 1000
    await ledger.store.run(expire(ledger.store.dialect, ledger.now))
    assert (await ledger.info(key))["spend"] == 1000e-9
    assert await ledger.settle(id, 300) == "settled"
    assert (await ledger.info(key))["spend"] == 300e-9
    assert await ledger.settle(id, 900) == "duplicate"
    assert (await ledger.info(key))["spend"] == 300e-9


async def test_a_cost_above_the_reservation_is_charged_in_full_and_the_next_request_is_refused(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=1000e-9)
    first = await ledger.admit(key, 400)
    second = await ledger.admit(key, 600)
    await ledger.settle(first["reservation"], 900)
    info = await ledger.info(key)
    assert (info["spend"], info["reserved"]) == (900e-9, 600e-9)
    await ledger.settle(second["reservation"], 600)
    assert (await ledger.info(key))["spend"] == 1500e-9
    assert (await ledger.admit(key, 1))["code"] == "budget_exceeded"
    await check_balance(ledger.store)


async def test_a_request_that_was_never_sent_costs_nothing(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=1)
    id = (await ledger.admit(key, 1000))["reservation"]
    assert await ledger.settle(id, 0, instance="", status=503) == "settled"
    info = await ledger.info(key)
    assert (info["spend"], info["reserved"]) == (0, 0)


async def test_a_reservation_is_bound_to_the_instance_that_got_the_request(ledger: Ledger) -> None:
    id = (await ledger.admit(None, 1000, instance=""))["reservation"]
    assert (await ledger.store.run(bind(id, "one")))["bound"] == 1
    assert await ledger.settle(id, 10, "two") == "foreign"
    assert (await ledger.store.run(renew("two", [id], ledger.now + 10**6)))["renewed"] == 0
    assert (await ledger.store.run(renew("one", [id], ledger.now + 10**6)))["renewed"] == 1
    ended = await ledger.store.run(expire_others(ledger.store.dialect, "one", ledger.now))
    assert ended["expired"] == 0
    assert (await ledger.store.run(expire_others(ledger.store.dialect, "three", ledger.now)))["expired"] == 1


async def test_a_request_moved_to_another_instance_is_settled_there(ledger: Ledger) -> None:
    """Another container replaced the first unexpectedly, and the first one's reservations were expired too early."""
    id = (await ledger.admit(None, 1000))["reservation"]
    await ledger.store.run(expire_instance(ledger.store.dialect, "one", ledger.now))
    assert (await ledger.store.run(bind(id, "two")))["bound"] == 1
    assert await ledger.settle(id, 10, "one") == "foreign"
    assert await ledger.settle(id, 10, "two") == "settled"
    assert (await ledger.store.run(bind(id, "one")))["bound"] == 0
    await check_balance(ledger.store)


async def test_an_implausible_cost_is_refused_even_without_a_budget(ledger: Ledger) -> None:
    refused = await ledger.admit(await ledger.key(), 1_001 * 10**9)
    assert (refused["status"], refused["code"]) == (400, "too_expensive")
    assert (await ledger.admit(None, 1_000 * 10**9))["ok"]


async def test_a_refusal_says_whether_retrying_soon_can_help(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=1e-6, max_parallel_requests=2, rpm_limit=3)
    assert "soon" not in await ledger.admit(key, 1001)
    id = (await ledger.admit(key, 600))["reservation"]
    assert (await ledger.admit(key, 600))["soon"].startswith("key:")  # the first one may cost less
    await ledger.settle(id, 500)
    assert "soon" not in await ledger.admit(key, 600)
    await ledger.admit(key, 0)
    await ledger.admit(key, 0)
    assert "soon" not in await ledger.admit(key, 0)  # the third in this minute
    ledger.now += 60_000
    assert (await ledger.admit(key, 0))["soon"].startswith("key:")


async def test_what_running_requests_hold_can_be_seen(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=1e-6)
    await ledger.admit(key, 400)
    one = await ledger.admit(key, 700)
    assert "reserved by 1 running request," in one["message"]
    await ledger.admit(key, 500)
    assert "reserved by 2 running requests," in (await ledger.admit(key, 700))["message"]
    info = await ledger.info(key)
    assert (info["reserved"], info["running_requests"]) == (900e-9, 2)
    (line,) = (await ledger.store.run(spend.by_key(ledger.now)))["body"]["data"]
    assert (line["reserved"], line["running_requests"]) == (900e-9, 2)
    ledger.now += 60_000
    await ledger.store.run(expire(ledger.store.dialect, ledger.now))
    assert (await ledger.info(key))["running_requests"] == 0


async def test_many_leases_are_renewed_at_once(ledger: Ledger) -> None:
    ids = [(await ledger.admit(None, 1))["reservation"] for _ in range(120)]
    assert (await ledger.store.run(renew("one", ids, ledger.now + 10**6)))["renewed"] == 120


async def test_spend_logs_are_filtered_and_paged(ledger: Ledger) -> None:
    key = await ledger.key(key_alias="bot")
    for index in range(7):
        ledger.now = NOON + index * 1000
        model = "a" if index % 2 else "b"
        id = (await ledger.admit(key if index < 5 else None, 100, model=model))["reservation"]
        await ledger.settle(id, index, prompt_tokens=index, deployment="d", answered_by="c", status=200, latency=12)
    await ledger.admit(key, 100)

    async def lines(**filters) -> list[dict]:
        result = await ledger.store.run(spend.logs(spend.Filters(**filters)))
        assert result["ok"], result
        return result["body"]["data"]

    everything = await lines()
    assert [line["spend"] for line in everything] == [n / 1e9 for n in (6, 5, 4, 3, 2, 1, 0)]
    line = everything[2]
    assert (line["key_alias"], line["model"], line["answered_by"], line["state"]) == ("bot", "b", "c", "settled")
    assert (line["prompt_tokens"], line["status"], line["latency_ms"]) == (4, 200, 12)
    assert len(await lines(key=key)) == 5
    assert len(await lines(key="master")) == 2
    assert len(await lines(model="a")) == 3
    assert len(await lines(begin=NOON + 2000, end=NOON + 4000)) == 2
    pages, after = [], None
    for _ in range(4):
        result = await ledger.store.run(spend.logs(spend.Filters(size=2, after=after)))
        pages += result["body"]["data"]
        after = result["body"]["next"]
    assert pages == everything
    assert after is None
    assert (await ledger.store.run(spend.logs(spend.Filters(key="sk-unknown"))))["status"] == 404
    assert (await ledger.store.run(spend.logs(spend.Filters(after="x"))))["status"] == 400
    keys = (await ledger.store.run(spend.by_key(ledger.now)))["body"]
    assert [(k["key_alias"], k["total_spend"]) for k in keys["data"]] == [("bot", 10e-9)]


async def test_a_lost_request_is_a_failure_and_a_running_one_is_neither(ledger: Ledger) -> None:
    for model, status in (("answered", 200), ("refused", 429), ("lost", None), ("running", None)):
        id = (await ledger.admit(None, 100, model=model, lease=1000 if model == "lost" else 60_000))["reservation"]
        if status is not None:
            await ledger.settle(id, 7, status=status)
    ledger.now += 1000
    assert (await ledger.store.run(expire(ledger.store.dialect, ledger.now)))["expired"] == 1

    async def models(status: str | int | None) -> list[str]:
        result = await ledger.store.run(spend.logs(spend.Filters(status=status)))
        return sorted(line["model"] for line in result["body"]["data"])

    assert await models(None) == ["answered", "lost", "refused"]
    assert await models("success") == ["answered"]
    assert await models("failure") == ["lost", "refused"]
    assert await models(429) == ["refused"]
    counted = (await ledger.store.run(over_time(Wanted(None, ledger.now), ledger.store.dialect)))["body"]["groups"]
    assert {group["group"]: group["failures"] for group in counted} == {"answered": 0, "lost": 1, "refused": 1}


async def test_old_lines_are_deleted_and_totals_remain(ledger: Ledger) -> None:
    for _ in range(3):
        await ledger.settle((await ledger.admit(None, 100))["reservation"], 100)
    await ledger.admit(None, 100)
    trimmed = [(await ledger.store.run(spend.trim(ledger.now + 1, 2)))["deleted"] for _ in range(3)]
    assert trimmed == [2, 1, 0]
    shown = (await ledger.store.run(spend.everything(Policy(), ledger.now)))["body"]
    assert (shown["total_spend"], shown["reserved"], shown["running_requests"]) == (300e-9, 100e-9, 1)
