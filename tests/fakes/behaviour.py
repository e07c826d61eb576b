"""How a fake provider misbehaves: one immutable value per request, and the queues that assign them."""

from collections import deque
from dataclasses import dataclass, field, replace
from enum import StrEnum, auto
from typing import Literal, get_args

# Where a stream reports usage: where OpenAI does with `include_usage`; nowhere; in a separate chunk without a
# request for it; in the chunk with the finish reason (Mistral); in every chunk (Perplexity).
UsageIn = Literal["asked", "never", "always", "finish", "every"]


class Fault(StrEnum):
    """The fault. Mid-stream faults occur after `Behaviour.after` content events, and halfway through a plain
    response."""

    NONE = auto()
    RESET_BEFORE_HEADERS = auto()
    RESET_AFTER_HEADERS = auto()
    RESET_MID_STREAM = auto()
    HANG_BEFORE_HEADERS = auto()
    HANG_AFTER_HEADERS = auto()
    HANG_MID_STREAM = auto()
    HALF_CHUNK = auto()  # half of an event, then the connection closes
    END_EARLY = auto()  # a well-formed HTTP body that stops in the middle of the response
    ERROR_FIRST_EVENT = auto()  # status 200, then an error as the first event
    ERROR_MID_STREAM = auto()
    GARBAGE_JSON = auto()
    HTML_PAGE = auto()
    CONTENT_LENGTH_TOO_LONG = auto()  # announces more bytes than it sends, then closes
    CONTENT_LENGTH_TOO_SHORT = auto()  # sends more bytes than it announced, then closes
    REJECT_STREAM_OPTIONS = auto()  # 400 for requests with stream_options


_FAULTS = frozenset(Fault)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How to respond to one request. The default is a valid response. Times are in seconds."""

    fault: Fault = Fault.NONE
    after: int = 2
    status: int = 200  # 400 and above: the provider's own error shape
    message: str | None = None  # of that error
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0  # before the headers
    text: str | None = None  # instead of the echo
    raw: tuple[bytes, ...] | None = None  # the response itself: its body, or the events of a stream
    chunks: int | None = None  # content events of a stream; None: the server's default
    pace: float | None = None  # between content events; None: the server's default
    usage: tuple[int, int] | None = None  # (prompt, completion) tokens instead of the counted ones
    usage_details: tuple[int, int] | None = None  # (cached, reasoning) tokens among them, in OpenAI's format
    usage_in: UsageIn = "asked"
    done: bool = True  # end an OpenAI stream with [DONE]
    crlf: bool = False  # line endings of server-sent events
    gzip: bool = False
    trickle: float | None = None  # sends single bytes, with this pause after each
    scripted: bool = False  # answers as the prompt says, see `script`, and thinks and speaks before it calls a tool


OK = Behaviour()


def failing(
    status: int, *, retry_after: str | float | None = None, message: str | None = None, **headers: str
) -> Behaviour:
    """An error status in the provider's own shape. Underscores in `headers` become dashes."""
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    if retry_after is not None:
        pairs.append(("retry-after", str(retry_after)))
    return Behaviour(status=status, message=message, headers=tuple(pairs))


def parse(text: str) -> Behaviour:
    """Parses a behavior from the command line: `"429,retry_after=7"`, `"hang_mid_stream,after=3"`, `"crlf,pace=0.3"`.

    Raises ValueError for unknown words.
    """
    behaviour = OK
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, assigned, value = part.partition("=")
        if not assigned and name.isdigit():
            behaviour = replace(behaviour, status=int(name))
        elif not assigned and name in _FAULTS:
            behaviour = replace(behaviour, fault=Fault(name))
        elif not assigned and name in ("crlf", "gzip", "scripted"):
            behaviour = replace(behaviour, **{name: True})
        elif not assigned and name == "no_done":
            behaviour = replace(behaviour, done=False)
        elif name in ("after", "chunks"):
            behaviour = replace(behaviour, **{name: int(value)})
        elif name in ("delay", "pace", "trickle"):
            behaviour = replace(behaviour, **{name: float(value)})
        elif name in ("text", "message"):
            behaviour = replace(behaviour, **{name: value})
        elif name == "usage_in" and value in get_args(UsageIn):
            behaviour = replace(behaviour, usage_in=value)
        elif name == "retry_after":
            behaviour = replace(behaviour, headers=(*behaviour.headers, ("retry-after", value)))
        else:
            raise ValueError(f"unknown behaviour {part!r}")
    return behaviour


@dataclass(slots=True)
class _Order:
    queue: deque[Behaviour] = field(default_factory=deque)
    constant: Behaviour | None = None


class Orders:
    """Behaviors for the whole server, a model, an API key, or both. The narrowest match wins.

    A queue is used up first, one entry per request. Then its constant applies, then the next wider match.
    """

    def __init__(self) -> None:
        self._orders: dict[tuple[str | None, str | None], _Order] = {}

    def always(self, behaviour: Behaviour, *, model: str | None = None, api_key: str | None = None) -> None:
        self._orders.setdefault((model, api_key), _Order()).constant = behaviour

    def queue(self, *behaviours: Behaviour, model: str | None = None, api_key: str | None = None) -> None:
        self._orders.setdefault((model, api_key), _Order()).queue.extend(behaviours)

    def clear(self) -> None:
        self._orders.clear()

    def next(self, model: str | None, api_key: str | None) -> Behaviour:
        if not self._orders:
            return OK
        for scope in ((model, api_key), (model, None), (None, api_key), (None, None)):
            order = self._orders.get(scope)
            if order is None:
                continue
            if order.queue:
                return order.queue.popleft()
            if order.constant is not None:
                return order.constant
        return OK
