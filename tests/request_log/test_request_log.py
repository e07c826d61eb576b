"""`general_settings.request_logging`: what is logged of a request, and what is always redacted."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.behaviour import Behaviour, failing
from tests.fakes.server import FakeProvider
from tests.money import deployment
from tests.processes import MASTER_KEY, RunningProxy, StartProxy

MASTER = {"authorization": f"Bearer {MASTER_KEY}"}
PROVIDER_KEY = "sk-provider"
CANARY = "the-canary-sings"
LEAKED = "sk-proj-abcdefgh0123456789"

Lines = Callable[[int], list[dict[str, Any]]]


def post(proxy: RunningProxy, path: str = "/v1/chat/completions", **fields: Any) -> httpx.Response:
    body = {"model": "gpt", "messages": [{"role": "user", "content": f"Say {CANARY} to {LEAKED}"}], **fields}
    return httpx.post(proxy.url + path, json=body, headers=MASTER, timeout=30)


def lines_of(path: Path, number: int) -> list[dict[str, Any]]:
    end = time.monotonic() + 10
    while True:
        found = path.read_text().splitlines() if path.exists() else []
        lines = [
            line for line in map(json.loads, (t for t in found if t.startswith("{"))) if line["event"] == "request"
        ]
        if len(lines) >= number or time.monotonic() > end:
            assert len(lines) == number, lines
            return lines
        time.sleep(0.05)


def start(proxy: StartProxy, fake: FakeProvider, logging: Any) -> RunningProxy:
    mock = {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hello!"}}
    return proxy({"model_list": [deployment(fake, "gpt"), mock], "general_settings": {"request_logging": logging}})


def test_metadata_is_logged_and_contents_are_not(proxy: StartProxy, fake: FakeProvider):
    gateway = start(proxy, fake, True)
    answer = post(gateway, user=CANARY, temperature=0.5, metadata={CANARY: CANARY}, **{f"x {CANARY}": 1})
    assert CANARY in answer.text
    (line,) = lines_of(gateway.log_path, 1)
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["deployment"] == answer.headers["x-litellm-model-id"]
    assert (line["endpoint"], line["model"], line["status"], line["key"]) == ("chat_completions", "gpt", 200, "master")
    content = f"[{len(f'Say {CANARY} to {LEAKED}')} characters]"
    assert line["request"]["messages"] == [{"role": "user", "content": content}]
    assert (line["request"]["temperature"], line["request"]["metadata"]) == (0.5, "[1 fields]")
    assert line["response"]["choices"][0]["finish_reason"] == "stop"
    assert line["response"]["usage"] == answer.json()["usage"]
    assert CANARY not in gateway.log()
    assert LEAKED not in gateway.log()


@pytest.mark.parametrize("stream", [False, True])
def test_contents_are_logged_on_request_and_secrets_never(
    proxy: StartProxy, fake: FakeProvider, tmp_path: Path, stream: bool
):
    path = tmp_path / "requests.jsonl"
    gateway = start(proxy, fake, {"contents": True, "file": str(path)})
    # The secrets come back in pieces, like the chunks of a stream.
    fake.always(Behaviour(text=f"{CANARY} {PROVIDER_KEY}-x {LEAKED} {MASTER_KEY}", chunks=17))
    assert post(gateway, stream=stream).status_code == 200
    (line,) = lines_of(path, 1)
    assert f"Say {CANARY} to ***" in line["request"]
    assert CANARY in (line["response"]["text"] if stream else line["response"])
    for secret in (LEAKED, PROVIDER_KEY, MASTER_KEY):
        assert secret not in path.read_text()
    assert CANARY not in gateway.log()
    assert path.stat().st_mode & 0o777 == 0o600


def test_refusals_and_failures_are_logged(proxy: StartProxy, fake: FakeProvider, tmp_path: Path):
    path = tmp_path / "requests.jsonl"
    gateway = start(proxy, fake, {"redact": True, "file": str(path)})
    fake.always(failing(400, message=f"I will not say {CANARY}"))
    post(gateway)
    post(gateway, messages=CANARY)
    httpx.post(f"{gateway.url}/v1/chat/completions", content=f"no json {CANARY}", headers=MASTER)
    lines = lines_of(path, 3)
    assert [line["status"] for line in lines] == [400, 400, 400]
    assert lines[0]["response"]["error"]["type"] == "invalid_request_error"
    assert lines[2]["request"] == f"[{len(f'no json {CANARY}')} bytes]"
    assert CANARY not in path.read_text()


def test_admin_calls_and_lists_are_not_logged(proxy: StartProxy, fake: FakeProvider, tmp_path: Path):
    path = tmp_path / "requests.jsonl"
    gateway = start(proxy, fake, {"contents": True, "file": str(path)})
    key = httpx.post(f"{gateway.url}/key/generate", json={}, headers=MASTER).json()["key"]
    httpx.get(f"{gateway.url}/v1/models", headers=MASTER)
    body = {"model": "mock", "messages": [{"role": "user", "content": "Hi"}]}
    httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers={"x-api-key": key})
    (line,) = lines_of(path, 1)
    assert len(line["key"]) == 64
    assert key not in path.read_text()


def test_bodies_are_truncated_and_no_secret_shows_at_the_cut(proxy: StartProxy, fake: FakeProvider, tmp_path: Path):
    path = tmp_path / "requests.jsonl"
    gateway = start(proxy, fake, {"contents": True, "file": str(path), "max_bytes": 1000})
    head = len('{"model":"gpt","messages":[{"role":"user","content":"')
    for cut in range(3, 20, 4):
        content = "ü" * ((1000 - head - cut) // 2) + " " + LEAKED + " " + "y" * 5000
        body = json.dumps({"model": "gpt", "messages": [{"role": "user", "content": content}]}, ensure_ascii=False)
        httpx.post(f"{gateway.url}/v1/chat/completions", content=body.encode(), headers=MASTER)
    for line in lines_of(path, 5):
        assert len(line["request"]) < 1100
        assert " bytes]" in line["request"]
        assert "sk-proj" not in line["request"]


def test_the_file_may_be_rotated_at_any_time(proxy: StartProxy, fake: FakeProvider, tmp_path: Path):
    path, moved = tmp_path / "requests.jsonl", tmp_path / "requests.jsonl.1"
    gateway = start(proxy, fake, {"file": str(path)})
    post(gateway)
    lines_of(path, 1)
    os.rename(path, moved)
    post(gateway)
    lines_of(path, 1)
    assert len(moved.read_text().splitlines()) == 1
    path.unlink()
    post(gateway)
    lines_of(path, 1)


def test_pending_lines_are_written_at_shutdown(proxy: StartProxy, fake: FakeProvider, tmp_path: Path):
    path = tmp_path / "requests.jsonl"
    gateway = start(proxy, fake, {"file": str(path)})
    for _ in range(20):
        post(gateway, model="mock")
    gateway.stop()
    assert len(path.read_text().splitlines()) == 20


def test_a_full_disk_does_not_affect_requests(proxy: StartProxy, fake: FakeProvider):
    gateway = start(proxy, fake, {"file": "/dev/full"})
    assert post(gateway).status_code == 200
    assert post(gateway).status_code == 200
    end = time.monotonic() + 10
    while '"request_log_failed"' not in gateway.log() and time.monotonic() < end:
        time.sleep(0.05)
    assert gateway.log().count('"request_log_failed"') == 1


def test_a_file_that_cannot_be_written_fails_the_start(proxy: StartProxy, fake: FakeProvider, tmp_path: Path):
    with pytest.raises(AssertionError, match=r"request_logging\.file.*cannot be written"):
        start(proxy, fake, {"file": str(tmp_path / "nowhere" / "requests.jsonl")})


def test_without_the_setting_nothing_is_written(proxy: StartProxy, fake: FakeProvider):
    gateway = start(proxy, fake, False)
    post(gateway)
    gateway.stop()
    assert '"event":"request"' not in gateway.log()
