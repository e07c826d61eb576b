"""Stored responses over time: a new master key, a salt key, a changed config, a second replica; and their money."""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.fakes.server import FakeProvider
from tests.money import wait_for
from tests.processes import MASTER_KEY, StartProxy
from tests.responses.storing_provider import StoringProvider
from tests.responses.test_stored import KEPT, STORED, Stored, config

Start = Callable[..., Stored]


@pytest.fixture
def storing() -> Iterator[StoringProvider]:
    with StoringProvider().serving() as provider:
        yield provider


@pytest.fixture
def start(proxy: StartProxy, storing: StoringProvider, fake: FakeProvider, tmp_path: Path) -> Start:
    """Starts gateways that share one ledger."""

    def started(changed: dict[str, Any] | None = None, master_key: str = MASTER_KEY, **variables: str) -> Stored:
        found = {**config(storing, fake), **(changed or {})}
        environment = {"LEDGER_PATH": str(tmp_path / "ledger.db"), **variables}
        stored = Stored(proxy(found, environment=environment, master_key=master_key))
        stored._master_key = master_key
        return stored

    return started


def statuses(gateway: Stored, key: str, id: str, model: str) -> tuple[int, int]:
    """Of a retrieval, and of a request that continues the response."""
    continued = gateway.create(key, model, previous_response_id=id)
    return gateway.send(key, "GET", f"/{id}").status_code, continued.status_code


def test_a_new_master_key_ends_all_ids_unless_there_is_a_salt_key(start: Start):
    first = start()
    key = first.key()
    made = {model: first.made(key, model)["id"] for model in (STORED, KEPT)}
    second = start()  # another replica, or a restart
    assert [statuses(second, key, id, model) for model, id in made.items()] == [(200, 200)] * 2
    third = start(master_key="sk-the-next-master-key")
    assert [statuses(third, key, id, model) for model, id in made.items()] == [(404, 400)] * 2

    salted = start(LITELLM_SALT_KEY="sk-salt-of-the-tests")
    made = {model: salted.made(key, model)["id"] for model in (STORED, KEPT)}
    rotated = start(LITELLM_SALT_KEY="sk-salt-of-the-tests", master_key="sk-the-next-master-key")
    assert [statuses(rotated, key, id, model) for model, id in made.items()] == [(200, 200)] * 2


def test_without_keys_ids_end_with_the_process(proxy: StartProxy, storing: StoringProvider, fake: FakeProvider):
    first, second = (Stored(proxy(config(storing, fake), master_key=None)) for _ in range(2))
    id = first.made("any")["id"]
    assert first.send("any", "GET", f"/{id}").status_code == 200
    assert second.send("any", "GET", f"/{id}").status_code == 404


def test_a_deployment_is_found_wherever_it_stands_in_the_config(
    start: Start, storing: StoringProvider, fake: FakeProvider
):
    first = start()
    key = first.key()
    made = {model: first.made(key, model)["id"] for model in (STORED, KEPT)}
    models = config(storing, fake)["model_list"]
    moved = start({"model_list": [models[-1], *models[:-1]]})
    assert [statuses(moved, key, id, model) for model, id in made.items()] == [(200, 200)] * 2


def test_a_deployment_that_a_reload_removes_takes_its_responses_along(
    start: Start, storing: StoringProvider, fake: FakeProvider
):
    gateway = start()
    key = gateway.key()
    stored, kept = gateway.made(key, STORED), gateway.made(key, KEPT)
    changed = config(storing, fake)
    changed["model_list"] = [one for one in changed["model_list"] if one["model_name"] != STORED]
    gateway.proxy.config_path.write_text(yaml.safe_dump(changed))
    wait_for(lambda: '"config_reloaded"' in gateway.proxy.log(), bool)
    storing.requests.clear()
    assert statuses(gateway, key, stored["id"], "mini") == (404, 400)
    unknown = gateway.send(key, "GET", "/resp_unknown")
    gone = gateway.send(key, "GET", f"/{stored['id']}")
    assert gone.text.replace(stored["id"], "") == unknown.text.replace("resp_unknown", "")
    reference = {"type": "item_reference", "id": stored["output"][0]["id"]}
    assert gateway.create(key, "mini", input=[reference]).status_code == 404
    assert not storing.requests
    assert statuses(gateway, key, kept["id"], "mini") == (200, 200)


def test_nothing_is_kept_if_it_must_not_be(start: Start, tmp_path: Path, fake: FakeProvider):
    gateway = start(RESPONSES_KEPT_DAYS="0")
    key = gateway.key()
    made = gateway.made(key, KEPT, store=True)
    assert made["store"] is False
    assert statuses(gateway, key, made["id"], KEPT) == (404, 400)


def test_what_is_kept_cannot_be_read_from_the_file(start: Start, tmp_path: Path):
    gateway = start()
    key = gateway.key()
    id = gateway.made(key, KEPT, input="the secret of the harbour " * 50)["id"]
    items = gateway.send(key, "GET", f"/{id}/input_items").text
    assert "secret of the harbour" in items
    files = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))
    assert b"harbour" not in files
    assert b"ledger_responses" in files


def test_a_response_over_its_share_is_answered_and_not_kept(start: Start):
    gateway = start(RESPONSES_KEPT_MB="0.01")
    key = gateway.key()
    small = gateway.made(key, KEPT)
    words = " ".join(str(number * 7919) for number in range(3000))
    large = gateway.made(key, KEPT, input=words)
    assert gateway.send(key, "GET", f"/{small['id']}").status_code == 200
    assert gateway.send(key, "GET", f"/{large['id']}").status_code == 404


# Money


def streamed_id(text: str) -> str:
    return next(json.loads(line[6:])["response"]["id"] for line in text.splitlines() if line.startswith("data: {"))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_conversation_stays_within_its_budget(start: Start, storing: StoringProvider, stream: bool, restarted: bool):
    """The provider adds the conversation so far to each prompt. The reservation covers it, also in a process that has
    not seen it."""
    gateway = start()
    key = gateway.key(max_budget=0.02)
    storing.words = 400
    id, turns = None, 0
    while True:
        continued = {"previous_response_id": id} if id else {}
        fields = {"input": "word " * 200, "max_output_tokens": 400, **continued}
        answer = gateway.create(key, STORED, stream=stream, **fields)
        if answer.status_code != 200:
            break
        turns += 1
        id = streamed_id(answer.text) if stream else answer.json()["id"]
        if restarted and turns == 2:
            gateway = start()
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "budget_exceeded")
    info = gateway.info(key)
    assert turns > 3
    assert 0 < info["spend"] <= 0.02
    lines = gateway.logs(key)
    assert not [line for line in lines if line["estimated"]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", ["references", "previous"])
def test_what_is_only_referred_to_is_reserved(start: Start, storing: StoringProvider, stream: bool, how: str):
    """A long answer costs as much when it is referred to as when it is sent."""
    gateway = start()
    key = gateway.key(max_budget=1)
    storing.words = 480
    body = {"input": "Hi", "max_output_tokens": 500}
    made = gateway.streamed(key, **body)[-1]["response"] if stream else gateway.made(key, **body)
    user = {"role": "user", "content": "Hi"}
    if how == "previous":
        more: dict[str, Any] = {"previous_response_id": made["id"], "input": [user]}
    else:
        more = {"input": [*({"type": "item_reference", "id": item["id"]} for item in made["output"]), user]}
    fresh = start()  # it has not seen the answer's usage

    def asked(left: float) -> httpx.Response:
        gateway.admin("/key/update", {"key": key, "max_budget": gateway.info(key)["spend"] + left})
        return fresh.create(key, max_output_tokens=16, **more)

    refused = asked(0.0004)  # the answer alone is 480 tokens of input, $0.00048
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
    assert asked(0.001).status_code == 200
    assert gateway.info(key)["spend"] <= gateway.info(key)["max_budget"]


def test_what_is_only_counted_is_not_kept(start: Start, tmp_path: Path):
    """Counting is free, and what is kept displaces earlier responses of the same key."""
    gateway = start()
    key = gateway.key()
    for model in (KEPT, STORED):
        counted = gateway.send(key, "POST", "/input_tokens", json={"model": model, "input": "Hi"})
        assert counted.status_code == 200
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger:
        assert ledger.execute("SELECT COUNT(*) FROM ledger_responses").fetchone() == (0,)
