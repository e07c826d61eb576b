"""Budget alerts: sent once per period, retried until the webhook accepts them."""

import pytest

from container.ledger.store import Store
from tests.ledger.support import Ledger, header, query
from worker.core.ledger import alerts
from worker.core.values import periods


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


async def test_soft_budget_and_exhaustion_alert_once_per_period(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=1e-6, soft_budget=5e-7, budget_duration="1h", key_alias="bot")

    async def pending() -> list[tuple[str, str]]:
        return [(a["kind"], a["name"]) for a in await ledger.store.run(alerts.pending(ledger.now))]

    await ledger.settle((await ledger.admit(key, 400))["reservation"], 400)
    assert await pending() == []
    await ledger.settle((await ledger.admit(key, 400))["reservation"], 400)
    assert await pending() == [("soft_budget", "key bot")]
    for _ in range(3):
        await ledger.admit(key, 300)
    assert sorted(await pending()) == [("budget_exhausted", "key bot"), ("soft_budget", "key bot")]
    for alert in await ledger.store.run(alerts.pending(ledger.now)):
        await ledger.store.run(alerts.tried(alert, ledger.now, delivered=True))
    await ledger.admit(key, 300)
    assert await pending() == []
    ledger.now += periods.HOUR
    await ledger.settle((await ledger.admit(key, 900))["reservation"], 900)
    await ledger.admit(key, 300)
    assert sorted(kind for kind, _ in await pending()) == ["budget_exhausted", "soft_budget"]


async def test_a_budget_filled_only_by_running_requests_is_not_exhausted(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=1e-6, budget_duration="1d", key_alias="bot")
    first = (await ledger.admit(key, 700))["reservation"]
    refused = await ledger.admit(key, 400)
    assert (refused["status"], refused["code"], refused["retry_after"]) == (429, "budget_exceeded", 1)
    assert header(refused, "x-should-retry") is None
    assert "held by requests that still run" in refused["message"]
    assert await ledger.store.run(alerts.pending(ledger.now)) == []
    await ledger.settle(first, 700)
    refused = await ledger.admit(key, 400)
    assert header(refused, "x-should-retry") == "false"
    assert "'bot' is exhausted" in refused["message"]
    [alert] = await ledger.store.run(alerts.pending(ledger.now))
    assert (alert["kind"], alert["spent"]) == ("budget_exhausted", 700e-9)


async def test_a_request_too_large_for_any_budget_sends_no_alert(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=1e-6)
    await ledger.admit(key, 2000)
    assert await ledger.store.run(alerts.pending(ledger.now)) == []


async def test_an_alert_is_retried_with_growing_delays(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=1e-6)
    await ledger.settle((await ledger.admit(key, 1000))["reservation"], 1000)
    waits = []
    for attempt in range(60):
        (alert,) = await ledger.store.run(alerts.pending(ledger.now))
        assert alert["attempts"] == attempt
        await ledger.store.run(alerts.tried(alert, ledger.now, delivered=False))
        before = ledger.now
        due = await query(ledger.store, "SELECT due FROM ledger_alerts")
        if due[0][0] is None:
            break
        ledger.now = due[0][0]
        waits.append((ledger.now - before) // 1000)
    assert waits[:4] == [5, 10, 20, 40]
    assert max(waits) == 3600
    assert len(waits) == 59
