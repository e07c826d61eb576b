"""Tags of requests and keys: validation, and their place in the spend log, on every store."""

import json
from typing import Any

import pytest

from container.ledger.store import Store
from tests.ledger.support import NOON, Ledger
from worker.core.ledger import key_admin, spend
from worker.core.values import tags


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"metadata": None},
        {"metadata": "tags"},
        {"metadata": {"tags": "job:1"}},
        {"metadata": {"tags": {"job": 1}}},
        {"metadata": {"tags": []}},
        {"metadata": {"tags": [1, "", "a\nb", "t" * 101, ["job:1"]]}},
    ],
)
def test_invalid_tags_are_dropped(body: dict[str, Any]) -> None:
    assert tags.of_request(body) == ""


def test_the_number_of_tags_per_request_is_limited() -> None:
    many = [f"job:{n}" for n in range(30)]
    assert json.loads(tags.of_request({"metadata": {"tags": many}})) == many[:20]
    assert json.loads(tags.of_request({"metadata": {"tags": ["a", "a", "t" * 100, 7]}})) == ["a", "t" * 100]


@pytest.mark.parametrize("together", [False, True])
async def test_a_line_has_the_tags_of_its_key_and_its_request(store: Store, together: bool) -> None:
    ledger = Ledger(store)
    key = await ledger.key(tags=["team:a", "beta"])
    own = tags.of_request({"metadata": {"tags": ["beta", "job:1"]}})
    asks = [
        ledger.request(key),
        ledger.request(key, tags=own),
        ledger.request(await ledger.key(), tags=own),
        ledger.request(None, tags=own),
        ledger.request(None),
    ]
    if together:
        await ledger.batch((), asks)
    else:
        for ask in asks:
            _, (result,) = await ledger.batch((), [ask])
            assert result["ok"]
    untagged = key_admin.update(store.dialect, {"key": key, "tags": None}, NOON)
    assert (await store.run(untagged))["body"]["tags"] == []
    for ask in asks:
        assert await ledger.settle(ask.id, 1) == "settled"
    lines = {line["request_id"]: line for line in (await store.run(spend.logs(spend.Filters())))["body"]["data"]}
    assert [lines[ask.id]["request_tags"] for ask in asks] == [
        ["team:a", "beta"],
        ["team:a", "beta", "job:1"],
        ["beta", "job:1"],
        ["beta", "job:1"],
        [],
    ]
