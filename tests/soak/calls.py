"""Requests in every format, and validation of the responses."""

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp

from tests.fakes.answers import embedding
from tests.fakes.behaviour import Behaviour, Fault
from tests.soak.provider import random_fault

# Seconds a client waits for the next byte. No request may take as long, whatever fails: one to the engine waits
# ENGINE_START_TIMEOUT (60) and then its deployment's timeout (30).
PATIENCE = 120.0
DIMENSIONS = 16
# Fallback models, which identify themselves in the response.
FALLBACKS = ("rock", "embed-rock")
_WORDS = "amber brook cedar delta ember frost grove harbour island jetty knoll lagoon meadow north".split()


class Kind(NamedTuple):
    """A kind of request. `models` are the groups it may use."""

    path: str
    models: tuple[str, ...]
    weight: int


KINDS = {
    "chat": Kind("/v1/chat/completions", ("gpt", "claude", "gemini", "alone", "rock"), 8),
    "completions": Kind("/v1/completions", ("gpt", "rock"), 1),
    "embeddings": Kind("/v1/embeddings", ("embed",), 2),
    "messages": Kind("/v1/messages", ("claude", "gpt", "gemini"), 3),
}
ENGINE = {"engine": Kind("/v1/chat/completions", ("translated",), 1)}


@dataclass(slots=True)
class Call:
    """One request. `faults` are pending for its attempts at a provider, and `injected` have occurred."""

    number: int
    kind: str
    path: str
    model: str
    key: str
    stream: bool
    leaves_after: float | None  # seconds
    text: str
    faults: list[Behaviour]
    injected: list[Behaviour] = field(default_factory=list)

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model}
        if self.kind == "embeddings":
            return {**body, "input": self.text, "dimensions": DIMENSIONS, "encoding_format": "float"}
        if self.kind == "completions":
            body["prompt"] = self.text
        else:
            body["messages"] = [{"role": "user", "content": self.text}]
        if self.kind == "messages":
            body["max_tokens"] = 500
        return {**body, "stream": True} if self.stream else body


class Outcome(NamedTuple):
    """The outcome as a client saw it.

    what    "whole" (the expected response), "wrong" (another response, or an invalid one), "refused" (an error
            status), "broken" (a stream that ended with an error event), "cut" (the connection closed during the
            response), "unreachable" (it closed before), "silent" (for PATIENCE seconds), "left" (the client
            disconnected)
    status  0 if there was none
    error   the type and code of the error
    id      of the request, as the response names it
    """

    what: str
    status: int = 0
    error: tuple[str, str] = ("", "")
    detail: str = ""
    id: str = ""


def calls(
    seed: random.Random, keys: list[str], faulty: float, kinds: dict[str, Kind], numbers: Iterator[int]
) -> Iterator[Call]:
    """Generates calls forever. `faulty` is the share of calls whose providers fail at least once, and `numbers`
    numbers them."""
    names = list(kinds)
    weights = [kinds[name].weight for name in names]
    for number in numbers:
        kind = seed.choices(names, weights)[0]
        stream = kind != "embeddings" and seed.random() < 0.5
        words = " ".join(seed.choice(_WORDS) for _ in range(seed.randrange(3, 40)))
        faults: list[Behaviour] = []
        if kind != "engine" and seed.random() < faulty:
            faults = [random_fault(seed) for _ in range(seed.choice((1, 1, 2, 3)))]
        elif seed.random() < 0.2:  # some are slow
            faults = [Behaviour(pace=seed.uniform(0.02, 0.3), delay=seed.uniform(0, 0.5))]
        yield Call(
            number,
            kind,
            kinds[kind].path,
            seed.choice(kinds[kind].models),
            seed.choice(keys),
            stream,
            seed.uniform(0, 1) if seed.random() < 0.08 else None,
            f"Hello there soak-{number}- {words}",
            faults,
        )


async def ask(session: aiohttp.ClientSession, url: str, key: str, call: Call) -> Outcome:
    """Sends the request, and disconnects when the call says so."""
    try:
        async with asyncio.timeout(call.leaves_after):
            return await _ask(session, url, key, call)
    except TimeoutError:
        return Outcome("left")


async def _ask(session: aiohttp.ClientSession, url: str, key: str, call: Call) -> Outcome:
    headers = {"authorization": f"Bearer {key}"}
    try:
        response = await session.post(url + call.path, json=call.body, headers=headers)
    except aiohttp.SocketTimeoutError:
        return Outcome("silent")
    except (aiohttp.ClientConnectionError, ConnectionError) as error:
        return Outcome("unreachable", detail=f"{type(error).__name__}: {error}")
    async with response:
        try:
            data = await response.read()
        except aiohttp.SocketTimeoutError:
            return Outcome("silent", response.status)
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, ConnectionError) as error:
            return Outcome("cut", response.status, detail=f"{type(error).__name__}: {error}")
    if response.status != 200:
        return _refused(call, response, data)
    if "x-request-id" not in response.headers:
        return Outcome("wrong", 200, detail="no x-request-id")
    outcome = _streamed(call, data) if call.stream else _plain(call, data)
    return outcome._replace(id=response.headers["x-request-id"])


def _refused(call: Call, response: aiohttp.ClientResponse, data: bytes) -> Outcome:
    status = response.status
    try:
        error = json.loads(data)["error"]
        kind, message = error["type"], error["message"]
    except (ValueError, KeyError, TypeError):
        return Outcome("wrong", status, detail=f"no error of the API's: {data[:200]!r}")
    if kind == "service_unavailable" and "retry-after" not in response.headers:
        return Outcome("wrong", status, detail=f"503 without Retry-After: {message}")
    return Outcome("refused", status, (kind, error.get("code") or ""), message)


def _plain(call: Call, data: bytes) -> Outcome:
    try:
        answer = json.loads(data)
        if call.kind == "embeddings":
            found, wanted = answer["data"][0]["embedding"], embedding(call.text, DIMENSIONS)
            good = max(abs(a - b) for a, b in zip(found, wanted, strict=True)) < 1e-5
        else:
            good = _text(call, answer) == call.text
        good = good and answer["model"] in (call.model, *FALLBACKS) and bool(answer["usage"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return Outcome("wrong", 200, detail=f"{type(error).__name__} in {data[:300]!r}")
    return Outcome("whole", 200) if good else Outcome("wrong", 200, detail=f"{data[:300]!r}")


def _text(call: Call, answer: dict[str, Any]) -> str:
    if call.kind == "messages":
        return "".join(block["text"] for block in answer["content"])
    choice = answer["choices"][0]
    return choice["text"] if call.kind == "completions" else choice["message"]["content"]


def _streamed(call: Call, data: bytes) -> Outcome:
    lines = [line[6:] for line in data.decode().splitlines() if line.startswith("data: ")]
    ended = bool(lines) and lines[-1] == "[DONE]"
    try:
        last = json.loads(lines[-1]) if lines and not ended else {}
        if "error" in last:
            error = last["error"]
            return Outcome("broken", 200, (error["type"], error.get("code") or ""), error["message"])
        events = [json.loads(line) for line in lines if line != "[DONE]"]
        if any("error" in event for event in events):
            return Outcome("wrong", 200, detail=f"something after an error: {data[-300:]!r}")
        if call.kind == "messages":
            ended = bool(events) and events[-1]["type"] == "message_stop"
        text = "".join(_piece(call, event) for event in events)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return Outcome("wrong", 200, detail=f"{type(error).__name__} in {data[-300:]!r}")
    if not ended and text == call.text and any(map(breaks_in_mid_stream, call.injected)):
        return Outcome("whole", 200)  # only its last words were cut off
    if not ended or text != call.text:
        return Outcome("wrong", 200, detail=f"ended: {ended}, {data[-300:]!r}")
    return Outcome("whole", 200)


def _piece(call: Call, event: dict[str, Any]) -> str:
    if call.kind == "messages":
        return event["delta"].get("text", "") if event["type"] == "content_block_delta" else ""
    if not event["choices"]:
        return ""
    choice = event["choices"][0]
    return choice["text"] if call.kind == "completions" else choice["delta"].get("content") or ""


def breaks_in_mid_stream(behaviour: Behaviour) -> bool:
    return behaviour.fault in _IN_MID_STREAM


_IN_MID_STREAM = frozenset(
    {
        Fault.RESET_MID_STREAM,
        Fault.HANG_MID_STREAM,
        Fault.HALF_CHUNK,
        Fault.END_EARLY,
        Fault.ERROR_MID_STREAM,
        Fault.GARBAGE_JSON,
        Fault.CONTENT_LENGTH_TOO_LONG,
        Fault.CONTENT_LENGTH_TOO_SHORT,
    }
)
