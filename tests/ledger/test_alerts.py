"""Alerts: sent once per period, retried until their receivers accept them, in words that ping nobody."""

import json

import pytest

from container.stores import Store
from tests.ledger.support import Ledger, header, query
from worker.core.ledger import alerts
from worker.core.values import periods

URLS = {alerts.WEBHOOK: "https://hooks.example/json"}
BOTH = {**URLS, alerts.SLACK: "https://hooks.slack.com/services/T0/B0/s3cret"}


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
        await ledger.store.run(alerts.tried(alert, ledger.now, accepted=[alerts.WEBHOOK], urls=URLS))
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
        await ledger.store.run(alerts.tried(alert, ledger.now, accepted=[], urls=URLS))
        before = ledger.now
        due = await query(ledger.store, "SELECT due FROM ledger_alerts")
        if due[0][0] is None:
            break
        ledger.now = due[0][0]
        waits.append((ledger.now - before) // 1000)
    assert waits[:4] == [5, 10, 20, 40]
    assert max(waits) == 3600
    assert len(waits) == 59


def attempt(**fields: object) -> str:
    made = {"model": "gpt", "deployment": "d1", "error": "server", "status": 500, "seconds": 0.1, **fields}
    return json.dumps([made])


async def failed(ledger: Ledger, key: str, attempts: str) -> None:
    await ledger.settle((await ledger.admit(key, 1))["reservation"], 1, attempts=attempts)


async def due(ledger: Ledger) -> list[tuple[str, str]]:
    return [(alert["kind"], alert["name"]) for alert in await ledger.store.run(alerts.pending(ledger.now))]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_of_a_provider_alerts_once_an_hour_for_each_deployment(ledger: Ledger, status: int) -> None:
    key = await ledger.key()
    refused = {"error": "authentication", "status": status}
    for deployment in ("d1", "d1", "d2", "d1"):
        await failed(ledger, key, attempt(deployment=deployment, **refused))
    wanted = [("provider_key_refused", f"deployment {name} of gpt") for name in ("d1", "d2")]
    assert sorted(await due(ledger)) == wanted
    for alert in await ledger.store.run(alerts.pending(ledger.now)):
        assert alerts.content(alert).keys() == {"kind", "name", "start", "created"}
        await ledger.store.run(alerts.tried(alert, ledger.now, accepted=[alerts.WEBHOOK], urls=URLS))
    await failed(ledger, key, attempt(**refused))
    assert await due(ledger) == []
    ledger.now += periods.HOUR
    await failed(ledger, key, attempt(**refused))
    assert await due(ledger) == wanted[:1]


async def test_a_deployment_that_rests_for_long_alerts_and_one_that_only_failed_does_not(ledger: Ledger) -> None:
    key = await ledger.key()
    await failed(ledger, key, attempt())
    await failed(ledger, key, attempt(error="authentication", status=None))
    await failed(ledger, key, attempt(ailing=alerts.LONG_REST_SECONDS - 1))
    assert await due(ledger) == []
    await failed(ledger, key, attempt(ailing=alerts.LONG_REST_SECONDS))
    assert await due(ledger) == [("deployment_resting", "deployment d1 of gpt")]


async def test_who_has_accepted_an_alert_does_not_get_it_again(ledger: Ledger) -> None:
    key = await ledger.key(max_budget=1e-6)
    await ledger.settle((await ledger.admit(key, 1000))["reservation"], 1000)
    (alert,) = await ledger.store.run(alerts.pending(ledger.now))
    assert [message.to for message in alerts.messages(alert, BOTH)] == ["webhook", "slack"]
    await ledger.store.run(alerts.tried(alert, ledger.now, accepted=["webhook"], urls=BOTH))
    ledger.now += 6 * periods.SECOND
    (alert,) = await ledger.store.run(alerts.pending(ledger.now))
    assert [message.to for message in alerts.messages(alert, BOTH)] == ["slack"]
    await ledger.store.run(alerts.tried(alert, ledger.now, accepted=["slack"], urls=BOTH))
    ledger.now += periods.HOUR
    assert await ledger.store.run(alerts.pending(ledger.now)) == []


def test_slack_is_a_receiver_only_if_the_config_names_it() -> None:
    assert alerts.receivers("https://a.example", "https://b.example", False) == {"webhook": "https://a.example"}
    assert alerts.receivers(None, "https://b.example", True) == {"slack": "https://b.example"}
    assert alerts.receivers(None, None, True) == {}


def message(url: str, **fields: object) -> alerts.Message:
    money = {"spent": 8.0, "reserved": 0.0, "budget": 10.0}
    alert = {"kind": "soft_budget", "name": "key bot", "sent": [], **money, **fields}
    (made,) = alerts.messages(alert, {alerts.SLACK: url})
    return made


EVIL = "key <!channel> & <@U1>\n@everyone <https://evil.example|click>"


def test_slack_gets_no_control_characters_of_an_alias() -> None:
    made = message("https://hooks.slack.com/services/T0/B0/x", name=EVIL)
    assert made.url == "https://hooks.slack.com/services/T0/B0/x"
    assert not {"<", ">", "\n"} & {*made.body["text"]}
    assert "key &lt;!channel&gt; &amp; &lt;@U1&gt; @everyone" in made.body["text"]
    assert made.body.keys() == {"text"}


@pytest.mark.parametrize("host", ["discord.com", "discordapp.com", "canary.discord.com"])
@pytest.mark.parametrize("ending", ["", "/slack", "/slack/"])
def test_discord_pings_nobody(host: str, ending: str) -> None:
    made = message(f"https://{host}/api/webhooks/1/s3cret{ending}?thread_id=7", name=EVIL)
    assert made.url == f"https://{host}/api/webhooks/1/s3cret?thread_id=7"
    assert made.body["allowed_mentions"] == {"parse": []}
    assert "key <!channel> & <@U1> @everyone" in made.body["content"]


@pytest.mark.parametrize("host", ["notdiscord.com", "discord.com.evil.example", "hooks.slack.com"])
def test_other_hosts_get_slacks_format(host: str) -> None:
    assert message(f"https://{host}/api/webhooks/1/x").body.keys() == {"text"}


def test_a_long_name_fits_into_a_message() -> None:
    assert len(message("https://discord.com/api/webhooks/1/x", name="n" * 5000).body["content"]) == 2000


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("soft_budget", "The soft budget of team blue, $10.00, is passed: $0.0003 spent, $0.00 reserved."),
        ("budget_exhausted", "The budget of team blue, $10.00, is used up: $0.0003 spent, $0.00 reserved."),
        ("provider_key_refused", "The provider refuses our key: team blue."),
        ("deployment_resting", "All attempts have failed for over 5 minutes: team blue."),
    ],
)
def test_each_kind_has_its_words(kind: str, said: str) -> None:
    text = message("https://hooks.slack.com/x", kind=kind, name="team blue", spent=0.0003).body["text"]
    assert text.startswith(f"LiteLLM Router: {said}")
    assert "of everyone," in alerts.words({**BUDGET, "name": "global"})


BUDGET = {"kind": "soft_budget", "spent": 1.0, "reserved": 0.0, "budget": 1.0}
