"""Spend over time, on every store."""

from typing import Any

import pytest

from container.stores import Store
from tests.ledger.support import NOON, Ledger
from worker.core.ledger import key_admin
from worker.core.ledger.spend import Wanted
from worker.core.ledger.spend import over_time as grouped
from worker.core.values import periods

HOUR, DAY = periods.HOUR, periods.DAY
DOLLAR = 1_000_000_000


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


async def spend(ledger: Ledger, key: str | None, cost: int, model: str = "gpt-4o", status: int = 200) -> None:
    id = f"{ledger.now}-{model}-{cost}"
    admitted = await ledger.admit(key, cost, model=model, id=id)
    assert admitted["ok"], admitted
    await ledger.settle(id, cost, prompt_tokens=10, completion_tokens=5, status=status)


async def over_time(ledger: Ledger, **wanted: Any) -> dict[str, Any]:
    found = await ledger.store.run(
        grouped(Wanted(wanted.pop("begin", None), ledger.now + 1, **wanted), ledger.store.dialect)
    )
    assert found["ok"], found
    return found["body"]


async def test_a_ledger_without_requests_has_no_activity(ledger: Ledger) -> None:
    found = await over_time(ledger)
    assert (found["groups"], found["data"]) == ([], [])
    assert found["from"] == found["complete_from"] == "2026-11-19T13:00:00.000Z"
    assert found["to"] == "2026-11-20T12:00:30.001Z"


async def test_activity_by_model_and_hour(ledger: Ledger) -> None:
    await spend(ledger, None, DOLLAR)
    await spend(ledger, None, 2 * DOLLAR, "claude", 502)
    ledger.now += HOUR
    await spend(ledger, None, 3 * DOLLAR)
    found = await over_time(ledger)
    tokens = {"prompt_tokens": 10, "completion_tokens": 5}
    assert found["data"] == [
        {"start": "2026-11-20T12:00:00.000Z", "group": "claude", "spend": 2.0, "requests": 1, "failures": 1, **tokens},
        {"start": "2026-11-20T12:00:00.000Z", "group": "gpt-4o", "spend": 1.0, "requests": 1, "failures": 0, **tokens},
        {"start": "2026-11-20T13:00:00.000Z", "group": "gpt-4o", "spend": 3.0, "requests": 1, "failures": 0, **tokens},
    ]
    totals = [(g["group"], g["name"], g["spend"], g["requests"], g["prompt_tokens"]) for g in found["groups"]]
    assert totals == [("gpt-4o", "gpt-4o", 4.0, 2, 20), ("claude", "claude", 2.0, 1, 10)]


async def test_activity_by_key_and_day_shows_aliases(ledger: Ledger) -> None:
    bot, nameless = await ledger.key(key_alias="bot"), await ledger.key()
    gone = await ledger.key(key_alias="gone")
    for key, dollars in ((bot, 4), (nameless, 3), (gone, 2), (None, 1)):
        await spend(ledger, key, dollars * DOLLAR)
    await ledger.store.run(key_admin.delete(ledger.store.dialect, {"keys": [gone]}))
    ledger.now += DAY
    await spend(ledger, bot, DOLLAR)
    found = await over_time(ledger, bucket="day", group_by="key")
    hint = (await ledger.info(nameless))["key_name"]
    assert [g["name"] for g in found["groups"]] == ["bot", hint, "gone", "master key"]
    bots = found["groups"][0]["group"]
    assert [(line["start"], line["spend"]) for line in found["data"] if line["group"] == bots] == [
        ("2026-11-20T00:00:00.000Z", 4.0),
        ("2026-11-21T00:00:00.000Z", 1.0),
    ]


async def test_small_groups_are_combined(ledger: Ledger) -> None:
    for dollars in range(1, 6):
        await spend(ledger, None, dollars * DOLLAR, f"model-{dollars}")
    found = await over_time(ledger, max_groups=2)
    assert [g["group"] for g in found["groups"]] == ["model-5", "model-4"]
    rest = [(line["spend"], line["requests"]) for line in found["data"] if line["group"] is None]
    assert rest == [(6.0, 3)]


async def test_a_range_with_too_many_requests_reports_where_its_data_is_complete(ledger: Ledger) -> None:
    for _ in range(5):
        ledger.now += HOUR
        await spend(ledger, None, DOLLAR)
    found = await over_time(ledger, max_requests=3)
    assert sum(line["requests"] for line in found["data"]) == 3
    assert found["from"] < found["complete_from"] < found["data"][0]["start"] < found["to"]
    whole = await over_time(ledger, max_requests=5)
    assert sum(line["requests"] for line in whole["data"]) == 5
    assert whole["complete_from"] == whole["from"]


async def test_running_requests_and_requests_outside_the_range_are_not_counted(ledger: Ledger) -> None:
    await spend(ledger, None, DOLLAR)
    ledger.now += DAY
    await ledger.admit(None, DOLLAR)
    assert (await over_time(ledger))["data"] == []
    assert (await over_time(ledger, begin=NOON + 1))["data"] != []  # a range starts at its first bucket
    assert (await over_time(ledger, begin=ledger.now + DAY))["data"] == []


async def test_the_number_of_buckets_is_limited(ledger: Ledger) -> None:
    assert (await over_time(ledger, begin=0))["from"] == "2026-10-20T13:00:00.000Z"
    assert (await over_time(ledger, begin=0, bucket="day"))["from"] == "2025-10-17T00:00:00.000Z"
