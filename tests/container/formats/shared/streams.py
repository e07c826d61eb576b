"""Streams as providers send them, and the expected output for the client."""

from collections.abc import Iterable

import orjson

from container.formats.shared.chat_stream import EventStream
from container.formats.shared.events import payload
from container.formats.shared.failure import error_event
from container.routing.health import Outcome
from tests.fakes.behaviour import Behaviour
from tests.fakes.formats.azure import AZURE
from tests.fakes.formats.base import Setting
from tests.fakes.formats.openai import OPENAI
from tests.fakes.record import Recorded

OURS = 'gpt "our" \\ möglich/x'  # a name that requires escaping
TRICKY = (
    'say "model":"x", {"model": "y"} \\"model\\":\\"z\\" "usage":{"a":1} [DONE]\r\n\r\n'
    'data: x\n\ndata: [DONE]\n\n "finish_reason":"stop"'
)


def recorded(format=OPENAI, text: str = "one two three four five", usage: bool = True, **behaviour) -> list[bytes]:
    """The events that a fake provider sends."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], "stream": True}
    if usage:
        body["stream_options"] = {"include_usage": True}
    seen = Recorded(1, "POST", "/", "", {}, orjson.dumps(body), 0, 0.0, model="gpt-4o")
    crlf = behaviour.pop("crlf", False)
    events = format.events(seen, "chat", Setting(1, Behaviour(**behaviour), 5))
    sent = [*events.head, *events.content, *events.tail, events.end]
    return [event.replace(b"\n", b"\r\n") if crlf else event for event in sent if event]


def rewritten(events: Iterable[bytes], *, drop_usage: bool) -> bytes:
    """The expected output, computed event by event."""
    out = []
    for event in events:
        chunk = payload(event)
        if chunk is not None:
            if chunk.get("error"):
                out.append(error_event(Outcome("server", 0, chunk["error"]["message"])))
                break
            if drop_usage and chunk.get("usage") and chunk.get("choices") == []:
                continue
            if isinstance(chunk.get("model"), str):
                theirs, ours = b'"model":' + orjson.dumps(chunk["model"]), b'"model":' + orjson.dumps(OURS)
                assert event.count(theirs) == 1
                event = event.replace(theirs, ours)
        out.append(event)
    return b"".join(out)


def whole(name: str, *, drop_usage: bool) -> bytes:
    """The expected output of one of `STREAMS`. `[DONE]` is added where it is missing."""
    done = b"" if name not in WITHOUT_DONE else b"data: [DONE]\n\n"
    return rewritten(STREAMS[name], drop_usage=drop_usage) + done


def passed_on(pieces: Iterable[bytes], *, drop_usage: bool = False) -> bytes:
    stream = EventStream(OURS, drop_usage=drop_usage)
    return b"".join(stream.feed(piece) for piece in pieces) + stream.end()


WITHOUT_DONE = ("no DONE",)
STREAMS = {
    "openai": recorded(),
    "openai without usage": recorded(usage=False),
    "azure, whose first model is empty": recorded(AZURE),
    "crlf": recorded(crlf=True),
    "azure with crlf": recorded(AZURE, crlf=True),
    "usage with the finish": recorded(usage_in="finish"),
    "usage in every chunk": recorded(usage_in="every"),
    "no DONE": recorded(done=False),
    "content that looks like ours": recorded(text=TRICKY),
    "content that looks like ours, crlf": recorded(text=TRICKY, crlf=True),
    "comments": [b": OPENROUTER PROCESSING\n\n", *recorded()[:2], b": ping\n: pong\n\n", *recorded()[2:]],
    "other fields": [b"event: chunk\nid: 7\nretry: 10\n" + event for event in recorded()],
    "not ascii": recorded(text="Grüße, 世界, 🙂🙂🙂 and again 🙂"),
    "error in mid-stream": [*recorded()[:3], OPENAI.error_event('overloaded "model":"x"')],
}


def chunk(rest: bytes, model: bytes = b'"theirs"') -> bytes:
    return b'data: {"id":"1","model":' + model + b',"choices":[{"index":0,"delta":{' + rest + b"\n\n"


PIECE = chunk(b'"content":"a"},"finish_reason":null}]}')
