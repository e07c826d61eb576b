"""Chunks arrive when they are sent, and a client that leaves is noticed."""

import itertools
import time

import httpx
import pytest

from tests.fakes import Behaviour, FakeProvider, Fault
from tests.processes import MASTER_KEY
from tests.sdk.conftest import KEEPALIVE, Gateway

BODY = {"model": "gpt", "messages": [{"role": "user", "content": "Hello there, world"}], "stream": True}
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}


def open_stream(gateway: Gateway):
    return httpx.stream("POST", f"{gateway.url}/v1/chat/completions", json=BODY, headers=HEADERS, timeout=20)


def has_text(line: str) -> bool:
    return '"content":"' in line and '"content":""' not in line


def test_chunks_keep_their_distance(gateway: Gateway, provider: FakeProvider):
    provider.always(Behaviour(pace=0.3))
    with open_stream(gateway) as answer:
        arrivals = [time.monotonic() for line in answer.iter_lines() if has_text(line)]
    distances = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    assert len(distances) == 4
    assert all(0.15 < distance < 0.6 for distance in distances)


def test_client_that_leaves_a_flowing_stream(gateway: Gateway, provider: FakeProvider):
    provider.always(Behaviour(pace=0.1, chunks=1000, text="x" * 1000))
    with open_stream(gateway) as answer:
        next(line for line in answer.iter_lines() if has_text(line))
    left = time.monotonic()
    seen = provider.last
    assert provider.wait_for(lambda: seen.disconnected_at) - left < 1
    assert provider.in_flight == 0


def test_client_that_leaves_a_silent_stream(gateway: Gateway, provider: FakeProvider):
    """Only bytes show that it has left, so it takes a comment line or two."""
    provider.always(Behaviour(Fault.HANG_MID_STREAM))
    with open_stream(gateway) as answer:
        texts = (line for line in answer.iter_lines() if has_text(line))
        next(texts)
        next(texts)
    left = time.monotonic()
    seen = provider.last
    assert provider.wait_for(lambda: seen.disconnected_at, timeout=10) - left < 2 * KEEPALIVE + 1


def test_silence_is_filled_with_comments(gateway: Gateway, provider: FakeProvider):
    provider.always(Behaviour(pace=2.5 * KEEPALIVE, chunks=2))
    with open_stream(gateway) as answer:
        lines = list(answer.iter_lines())
    comments = [line for line in lines if line.startswith(":")]
    assert len(comments) >= 2
    assert sum(map(has_text, lines)) == 2


def test_client_that_leaves_before_the_first_byte(standalone: Gateway, provider: FakeProvider):
    """Not at the edge: workerd learns of a departure only by writing, and there is nothing to write yet."""
    provider.always(Behaviour(Fault.HANG_BEFORE_HEADERS))
    with (
        httpx.Client(headers=HEADERS, timeout=httpx.Timeout(5, read=0.5)) as client,
        pytest.raises(httpx.ReadTimeout),
    ):
        client.post(f"{standalone.url}/v1/chat/completions", json={**BODY, "stream": False})
    left = time.monotonic()
    assert provider.wait_for(lambda: provider.last.disconnected_at) - left < 1
