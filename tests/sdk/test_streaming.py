"""Chunks are forwarded as they arrive, and client disconnects are noticed."""

import asyncio
import itertools

import httpx

from tests.fakes.behaviour import Behaviour, Fault
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY
from tests.sdk.conftest import Gateway

BODY = {"model": "gpt", "messages": [{"role": "user", "content": "Hello there, world"}], "stream": True}
# Much less than the 100 seconds of a stream that nobody reads, however busy the machine is.
NOTICED_SECONDS = 20
HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}


def open_stream(gateway: Gateway):
    return httpx.stream("POST", f"{gateway.url}/v1/chat/completions", json=BODY, headers=HEADERS, timeout=20)


def has_text(line: str) -> bool:
    return '"content":"' in line and '"content":""' not in line


def test_each_chunk_arrives_before_the_next_one_is_sent(gateway: Gateway, provider: FakeProvider):
    with provider.stepping() as step, open_stream(gateway) as answer:
        # Comments are sent even while chunks are held back, so the wait is bounded.
        texts = (line for line in itertools.islice(answer.iter_lines(), 60) if has_text(line))
        for _ in range(5):
            step()
            next(texts)


def test_client_disconnect_ends_a_flowing_stream(gateway: Gateway, provider: FakeProvider):
    provider.always(Behaviour(pace=0.1, chunks=1000, text="x" * 1000))
    with open_stream(gateway) as answer:
        next(line for line in answer.iter_lines() if has_text(line))
    seen = provider.last
    provider.wait_for(lambda: seen.disconnected_at, timeout=NOTICED_SECONDS)
    assert provider.in_flight == 0


def test_client_disconnect_ends_a_silent_stream(gateway: Gateway, provider: FakeProvider):
    """Only a write reveals the disconnect, so it takes a comment line or two."""
    provider.always(Behaviour(Fault.HANG_MID_STREAM))
    with open_stream(gateway) as answer:
        texts = (line for line in answer.iter_lines() if has_text(line))
        next(texts)
        next(texts)
    seen = provider.last
    provider.wait_for(lambda: seen.disconnected_at, timeout=NOTICED_SECONDS)


def test_silence_is_filled_with_comments(gateway: Gateway, provider: FakeProvider):
    with provider.stepping() as step, open_stream(gateway) as answer:
        lines = answer.iter_lines()
        step()
        next(filter(has_text, lines))
        comments = (line for line in lines if line.startswith(":"))
        next(comments)
        next(comments)
        step()
        next(filter(has_text, lines))


async def test_client_disconnect_before_the_first_byte(standalone: Gateway, provider: FakeProvider):
    """Not at the edge: workerd notices a disconnect only on a write, and there is nothing to write yet."""
    provider.always(Behaviour(Fault.HANG_BEFORE_HEADERS))
    async with httpx.AsyncClient(headers=HEADERS, timeout=20) as client:
        asking = asyncio.ensure_future(
            client.post(f"{standalone.url}/v1/chat/completions", json={**BODY, "stream": False})
        )
        seen = (await provider.eventually(lambda: provider.requests))[0]
        asking.cancel()
        await provider.eventually(lambda: seen.disconnected_at, timeout=NOTICED_SECONDS)
