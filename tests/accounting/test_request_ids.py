"""One request id in the response header, the log, the trace, the request log and the spend log."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.accounting.conftest import Start
from tests.fakes.behaviour import failing
from tests.fakes.server import FakeProvider
from tests.money import chat, deployment, wait_for
from tests.tracing.collector import Collector
from tests.tracing.conftest import collector

__all__ = ["collector"]

TRACED_AS = "litellm_router.request_id"
NAME = "a-client-s-name-0001"


def lines(log: str, event: str, id: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in log.splitlines() if line.startswith("{") and id in line]
    return [line for line in found if line["event"] == event and line["request_id"] == id]


def test_header_logs_trace_and_spend_log_have_the_same_id(
    start: Start, fake: FakeProvider, collector: Collector, tmp_path: Path
):
    path = tmp_path / "requests.jsonl"
    gateway = start(
        environment={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"},
        models=[deployment(fake, "gpt"), deployment(fake, "spare")],
        more={"fallbacks": [{"gpt": ["spare"]}]},
        general={"request_logging": {"redact": True, "file": str(path)}},
    )
    key = gateway.key()
    for named in (None, NAME):
        fake.queue(failing(500))  # several attempts are one request
        answer = gateway.http.post(
            "/v1/chat/completions",
            json=chat(),
            headers={"authorization": f"Bearer {key}"} | ({"x-request-id": named} if named else {}),
        )
        assert answer.status_code == 200, answer.text
        id = answer.headers["x-request-id"]
        assert answer.headers["x-litellm-call-id"] == id
        assert id == NAME if named else re.fullmatch("[0-9a-f]{32}", id)
        (line,) = wait_for(lambda id=id: lines(gateway.proxy.log(), "request_finished", id), bool)
        assert len(lines(gateway.proxy.log(), "attempt", id)) == 1  # the one that failed
        assert wait_for(lambda id=id: lines(path.read_text(), "request", id), bool)
        (row,) = gateway.admin("/spend/logs", request_id=id)["data"]
        assert (row["request_id"], row["answered_by"]) == (id, "spare")
        assert line["cost"] == pytest.approx(row["spend"])
        assert wait_for(lambda id=id: [s for s in collector.all() if s.attributes.get(TRACED_AS) == id], bool)


def test_every_line_about_a_request_has_its_id(start: Start, fake: FakeProvider):
    gateway = start(environment={"FAILED_KEYS_PER_MINUTE": "1"})
    fake.queue(failing(500))
    headers = {"authorization": f"Bearer {gateway.key()}", "x-request-id": NAME}
    assert gateway.http.post("/v1/chat/completions", json=chat(), headers=headers).status_code == 500
    for _ in range(2):
        wrong = {"authorization": "Bearer sk-nobodys-key", "x-request-id": NAME}
        assert gateway.http.post("/v1/chat/completions", json=chat(), headers=wrong).status_code in (401, 429)
    of_requests = {"attempt", "failed_keys", "request_finished"}
    wait_for(lambda: gateway.proxy.log(), lambda log: log.count("request_finished") == 3)
    found = [json.loads(line) for line in gateway.proxy.log().splitlines()]
    assert {line["event"] for line in found} >= of_requests
    assert {line["request_id"] for line in found if line["event"] in of_requests} == {NAME}


def test_two_requests_with_one_id_are_two_lines(start: Start, fake: FakeProvider):
    gateway = start()
    one, two = gateway.key(key_alias="one"), gateway.key(key_alias="two")

    def ask(key: str, id: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}", "x-request-id": id}
        return gateway.http.post("/v1/chat/completions", json=chat(), headers=headers)

    ours = gateway.ask(one).headers["x-request-id"]
    for key, id in ((one, NAME), (two, NAME), (two, ours)):
        assert ask(key, id).status_code == 200
    gateway.settled()
    for id in (NAME, ours):
        rows = gateway.admin("/spend/logs", request_id=id)["data"]
        assert sorted(row["key_alias"] for row in rows) == ["one", "two"]
