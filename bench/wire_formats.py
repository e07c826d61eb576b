"""The fake provider's answers in Gemini's and Anthropic's words, of the same content as the OpenAI ones."""

import functools
from collections.abc import Sequence

from .workload import MARKER, PLAIN_MARKERS

_HEAD = b"HTTP/1.1 200 OK\r\nserver: fake\r\n"
_STREAM = _HEAD + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"
_GEMINI_USAGE = (
    b'{"promptTokenCount":64,"candidatesTokenCount":50,"totalTokenCount":114,'
    b'"promptTokensDetails":[{"modality":"TEXT","tokenCount":64}]}'
)
_CLAUDE_USAGE = (
    b'{"input_tokens":64,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":50,'
    b'"service_tier":"standard"}'
)
_CLAUDE_HEAD = b'{"id":"msg_bench","type":"message","role":"assistant","model":"claude-bench","content":['


def of(path: bytes) -> str:
    """`gemini`, `claude` or `openai`, by the address that is asked."""
    if b"GenerateContent" in path or b":generateContent" in path:
        return "gemini"
    return "claude" if path.endswith(b"/v1/messages") else "openai"


@functools.cache
def gemini_plain() -> bytes:
    return _whole(_gemini(b" ".join([MARKER] * PLAIN_MARKERS), b'"finishReason":"STOP",'))


@functools.cache
def gemini_stream(chunks: int) -> tuple[bytes, ...]:
    events = [b"data: " + _gemini(b" " + MARKER, b"") + b"\r\n\r\n"] * (chunks - 1)
    events.append(b"data: " + _gemini(b" " + MARKER, b'"finishReason":"STOP",') + b"\r\n\r\n")
    return _chunked(events)


@functools.cache
def claude_plain() -> bytes:
    text = b" ".join([MARKER] * PLAIN_MARKERS)
    return _whole(
        _CLAUDE_HEAD + b'{"type":"text","text":"' + text + b'"}],"stop_reason":"end_turn","stop_sequence":null,'
        b'"usage":' + _CLAUDE_USAGE + b"}"
    )


@functools.cache
def claude_stream(chunks: int) -> tuple[bytes, ...]:
    delta = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" ' + MARKER + b'"}}'
    start = (
        b'{"type":"message_start","message":' + _CLAUDE_HEAD + b'],"stop_reason":null,"usage":' + _CLAUDE_USAGE + b"}}"
    )
    block = b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'
    stop = b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":50}}'
    return _chunked(
        [
            _event(b"message_start", start) + _event(b"content_block_start", block),
            *[_event(b"content_block_delta", delta)] * chunks,
            _event(b"content_block_stop", b'{"type":"content_block_stop","index":0}')
            + _event(b"message_delta", stop)
            + _event(b"message_stop", b'{"type":"message_stop"}'),
        ]
    )


def _gemini(text: bytes, finish: bytes) -> bytes:
    return (
        b'{"candidates":[{"content":{"parts":[{"text":"' + text + b'"}],"role":"model"},' + finish + b'"index":0}],'
        b'"usageMetadata":' + _GEMINI_USAGE + b',"modelVersion":"gemini-bench","responseId":"bench"}'
    )


def _event(name: bytes, data: bytes) -> bytes:
    return b"event: " + name + b"\ndata: " + data + b"\n\n"


def _whole(body: bytes) -> bytes:
    return _HEAD + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _chunked(events: Sequence[bytes]) -> tuple[bytes, ...]:
    """The head, then one HTTP chunk for each event; the last brings the end with it."""
    *rest, last = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    return (_STREAM, *rest, last + _END)
