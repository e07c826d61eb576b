"""Responses preserve the provider's bytes, and logs leak nothing."""

import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from container.formats.shared.events import payload, split
from tests.container.raw import Connection, ask
from tests.container.serve.support import AUTHORIZED, CHAT, MESSAGES, PROVIDER_KEY, post, resident_megabytes
from tests.fakes.behaviour import Behaviour, failing
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY


def test_responses_keep_the_providers_bytes_except_for_the_model(gateway, provider):
    provider.always(Behaviour(text='the "model":"x" \\ ü 🙂\n'))
    assert same_but_for_ids(directly(provider), b"gpt-4o-2026-01-01") == same_but_for_ids(post(gateway).body, b"gpt")


@pytest.mark.parametrize("behaviour", [Behaviour(), Behaviour(crlf=True), Behaviour(text='"model":"x" 🙂\n\n[DONE]')])
def test_streams_keep_the_providers_bytes_except_for_the_model(gateway, provider, behaviour):
    provider.always(behaviour)
    fields = {"stream": True, "stream_options": {"include_usage": True}}
    theirs, ours = directly(provider, **fields), post(gateway, **fields).body
    assert same_but_for_ids(theirs, b"gpt-4o-2026-01-01") == same_but_for_ids(ours, b"gpt")


def directly(provider: FakeProvider, **fields: Any) -> bytes:
    """The provider's own response to the proxy's request."""
    body = orjson.dumps({"model": "gpt-4o", "messages": MESSAGES, **fields})
    return ask(provider.port, "POST", CHAT, {"authorization": f"Bearer {PROVIDER_KEY}"}, body).body


def same_but_for_ids(raw: bytes, model: bytes) -> bytes:
    """Checks and removes the model name, and removes everything that differs between requests."""
    raw, times = re.subn(rb'"model":"%s"' % re.escape(model), b'"model":""', raw)
    assert times
    return re.sub(rb'fake-\d+|"created":\d+', b"", raw)


def test_concurrent_streams_do_not_mix(gateway, provider):
    provider.always(Behaviour(pace=0.01, chunks=20))

    def one(number: int) -> tuple[str, str]:
        text = f"This is the text of request {number}, and of no other one. " * 5
        answer = post(gateway, stream=True, messages=[{"role": "user", "content": text}], model=f"free/m{number}")
        chunks = [chunk for event in split(answer.body) if (chunk := payload(event))]
        assert {chunk["model"] for chunk in chunks} == {f"free/m{number}"}
        return text, "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)

    with ThreadPoolExecutor(30) as pool:
        for asked, answered in pool.map(one, range(60)):
            assert asked == answered


def test_fallbacks_are_followed_and_named_in_headers(gateway, provider):
    provider.always(failing(500), model="stands-for-claude")
    provider.always(failing(429), model="gpt-4o")
    answer = post(gateway, model="claude")
    assert (answer.status, answer.json["model"]) == (200, "mock")
    assert answer.headers["x-litellm-model-group"] == "mock"
    assert answer.headers["x-litellm-attempted-fallbacks"] == "2"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize("stream", [False, True])
def test_provider_errors_never_expose_our_key(gateway, provider, status, stream):
    provider.always(failing(status, message=f"The API key {PROVIDER_KEY} is not good enough."))
    answer = post(gateway, stream=stream)
    assert answer.status == {400: 400, 429: 429, 500: 500}.get(status, 502)
    assert PROVIDER_KEY.encode() not in answer.body
    assert PROVIDER_KEY not in gateway.log()


def test_keys_and_prompts_are_not_logged(gateway, provider):
    secret = "a prompt that nobody else may read"
    provider.queue(Behaviour(text="an answer that nobody else may read"), failing(500, message="Oh."), Behaviour())
    for fields in ({}, {}, {"stream": True}, {"n": "x"}, {"model": "nonesuch"}):
        post(gateway, **{"messages": [{"role": "user", "content": secret}], **fields})
    post(gateway, headers={"authorization": "Bearer sk-wrong-key"})
    assert post(gateway, headers={**AUTHORIZED, "x-request-id": "the-last-of-them"}).status == 200
    provider.wait_for(lambda: "the-last-of-them" in gateway.log())
    logged = gateway.log()
    for text in (secret, "nobody else may read", MASTER_KEY, PROVIDER_KEY, "sk-wrong-key"):
        assert text not in logged
    assert all(json.loads(line)["event"] for line in logged.splitlines())


def test_slow_reader_slows_the_provider(gateway, provider):
    provider.always(Behaviour(text="x" * 40_000_000, chunks=4000))
    with Connection(gateway.port) as connection:
        connection.request(
            "POST", CHAT, AUTHORIZED, orjson.dumps({"model": "gpt", "messages": MESSAGES, "stream": True})
        )
        assert connection.head().status == 200
        before, sent = -1, 0
        while sent != before:
            time.sleep(0.5)
            before, sent = sent, provider.last.events_sent
        assert sent < 3500
        assert resident_megabytes(gateway.pid) < 150
    provider.wait_for(lambda: provider.last.disconnected_at)


def test_truncated_bodies_do_no_harm(gateway):
    def half() -> None:
        with Connection(gateway.port) as connection:
            connection.request("POST", CHAT, {**AUTHORIZED, "content-length": "1000"}, b'{"model": "gpt"')

    threads = [threading.Thread(target=half) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert post(gateway).status == 200
    assert "internal_error" not in gateway.log()
