"""A fake OpenAI on loopback that costs little: canned answers over a bare HTTP/1.1 protocol.

    python -m bench.provider --port 9000

Every chunk of a stream is a write of its own in a turn of the event loop of its own, as a provider's chunks are. It
takes any path and any key, answers the paths of Gemini, Anthropic and the Responses API in their words, and sends usage
when `stream_options` asks for it.
"""

import argparse
import asyncio
import functools
import signal
from typing import cast

import httptools
import uvloop

from . import wire_formats
from .workload import MARKER, PLAIN_MARKERS, asked_for

_HEAD = b"HTTP/1.1 200 OK\r\nserver: fake\r\nx-request-id: req_bench\r\nopenai-processing-ms: 1\r\n"
_ABOUT = (
    b'"created":1790000000,"model":"bench-upstream-2026-01-01","service_tier":"default","system_fingerprint":"fp_b"'
)
_USAGE = (
    b'{"prompt_tokens":64,"completion_tokens":50,"total_tokens":114,"prompt_tokens_details":{"cached_tokens":0,'
    b'"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}}'
)


@functools.cache
def plain_answer() -> bytes:
    """Head and body, about 1 kB."""
    content = b" ".join([MARKER] * PLAIN_MARKERS)
    body = (
        b'{"id":"chatcmpl-bench","object":"chat.completion",' + _ABOUT + b',"choices":[{"index":0,"message":'
        b'{"role":"assistant","content":"' + content + b'","refusal":null,"annotations":[]},"logprobs":null,'
        b'"finish_reason":"stop"}],"usage":' + _USAGE + b"}"
    )
    return _HEAD + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


@functools.cache
def stream_answer(chunks: int, with_usage: bool) -> tuple[bytes, ...]:
    """The writes of a stream: its head, then one HTTP chunk for each event."""
    usage = b',"usage":null' if with_usage else b""

    def event(choices: bytes, usage: bytes = usage) -> bytes:
        return (
            b'{"id":"chatcmpl-bench","object":"chat.completion.chunk",'
            + _ABOUT
            + b',"choices":'
            + choices
            + usage
            + b"}"
        )

    def choice(delta: bytes, finish: bytes = b"null") -> bytes:
        return b'[{"index":0,"delta":{' + delta + b'},"logprobs":null,"finish_reason":' + finish + b"}]"

    events = [event(choice(b'"role":"assistant","content":"' + MARKER + b'","refusal":null'))]
    events += [event(choice(b'"content":" ' + MARKER + b'"'))] * (chunks - 1)
    events.append(event(choice(b"", b'"stop"')))
    if with_usage:
        events.append(event(b"[]", b',"usage":' + _USAGE))
    events.append(b"[DONE]")
    head = _HEAD + b"content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
    return (
        head,
        *(b"%x\r\ndata: %b\n\n\r\n" % (len(e) + 8, e) for e in events[:-1]),
        b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n",
    )


_PLAIN = {
    "openai": plain_answer,
    "gemini": wire_formats.gemini_plain,
    "claude": wire_formats.claude_plain,
    "responses": wire_formats.responses_plain,
}
_STREAMS = {
    "gemini": wire_formats.gemini_stream,
    "claude": wire_formats.claude_stream,
    "responses": wire_formats.responses_stream,
}


class Provider(asyncio.Protocol):
    """One connection; requests on it are answered one after another."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._body: list[bytes] = []
        self._path = b""
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        self._body.clear()
        chunks, gap_ms = asked_for(body)
        spoken = wire_formats.of(self._path.partition(b"?")[0])
        if not chunks:
            self._transport.write(_PLAIN[spoken]())
            return
        if spoken == "openai":
            writes = stream_answer(chunks, b'"include_usage":true' in body.replace(b" ", b""))
        else:
            writes = _STREAMS[spoken](chunks)
        self._transport.write(writes[0])
        self._send(writes, 1, chunks, gap_ms / 1000, self._loop.time())

    def _send(self, writes: tuple[bytes, ...], index: int, chunks: int, gap: float, due: float) -> None:
        """Writes one chunk and asks to be called for the next; `due` keeps the pace from drifting."""
        if self._closed:
            return
        self._transport.write(writes[index])
        index += 1
        if index == len(writes):
            return
        if gap and index <= chunks:  # what closes a stream follows its last content at once
            due += gap
            self._loop.call_at(due, self._send, writes, index, chunks, gap, due)
        else:
            self._loop.call_soon(self._send, writes, index, chunks, gap, due)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Provider, "127.0.0.1", port, backlog=1024)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.provider", description="A fake OpenAI on loopback.")
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))
