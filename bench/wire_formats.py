"""The fake provider's answers in the words of Gemini, Anthropic and the Responses API.

Their content is that of the OpenAI ones.
"""

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
    """`gemini`, `claude`, `responses` or `openai`, by the address that is asked."""
    if path.endswith(b"/responses"):
        return "responses"
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


_RESPONSE = (
    b'"id":"resp_bench","object":"response","created_at":1790000000,"background":false,"error":null,'
    b'"incomplete_details":null,"instructions":null,"max_output_tokens":256,"model":"bench-upstream-2026-01-01",'
    b'"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":null,"summary":null},'
    b'"service_tier":"default","store":false,"temperature":0.7,"text":{"format":{"type":"text"}},"tool_choice":"auto",'
    b'"tools":[],"top_logprobs":0,"top_p":1.0,"truncation":"disabled","metadata":{},'
)
_RESPONSE_USAGE = (
    b'{"input_tokens":64,"input_tokens_details":{"cached_tokens":0},"output_tokens":50,'
    b'"output_tokens_details":{"reasoning_tokens":0},"total_tokens":114}'
)
_AT = b'"item_id":"msg_bench","output_index":0'


def _part(text: bytes) -> bytes:
    return b'{"type":"output_text","annotations":[],"logprobs":[],"text":"' + text + b'"}'


def _message(text: bytes) -> bytes:
    head = b'{"id":"msg_bench","type":"message","status":"completed","role":"assistant","content":['
    return head + (_part(text) if text else b"") + b"]}"


def _response(text: bytes) -> bytes:
    if not text:
        return b"{" + _RESPONSE + b'"status":"in_progress","output":[],"usage":null}'
    return (
        b"{" + _RESPONSE + b'"status":"completed","output":[' + _message(text) + b'],"usage":' + _RESPONSE_USAGE + b"}"
    )


@functools.cache
def responses_plain() -> bytes:
    return _whole(_response(b" ".join([MARKER] * PLAIN_MARKERS)))


@functools.cache
def responses_stream(chunks: int) -> tuple[bytes, ...]:
    numbers = iter(range(chunks + 9))

    def event(kind: bytes, fields: bytes) -> bytes:
        name = b"response." + kind
        return _event(name, b'{"type":"' + name + b'","sequence_number":%d,' % next(numbers) + fields + b"}")

    text, part = b"".join([b" " + MARKER] * chunks), _AT + b',"content_index":0,'
    head = event(b"created", b'"response":' + _response(b"")) + event(b"in_progress", b'"response":' + _response(b""))
    head += event(b"output_item.added", b'"output_index":0,"item":' + _message(b""))
    head += event(b"content_part.added", part + b'"part":' + _part(b""))
    delta = part + b'"delta":" ' + MARKER + b'","logprobs":[],"obfuscation":"aGVsbG8x"'
    deltas = [event(b"output_text.delta", delta) for _ in range(chunks)]
    tail = event(b"output_text.done", part + b'"text":"' + text + b'","logprobs":[]')
    tail += event(b"content_part.done", part + b'"part":' + _part(text))
    tail += event(b"output_item.done", b'"output_index":0,"item":' + _message(text))
    return _chunked([head, *deltas, tail + event(b"completed", b'"response":' + _response(text))])


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
