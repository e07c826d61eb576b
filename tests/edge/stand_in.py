"""A stand-in for the proxy in the container: it records requests, and misbehaves on demand.

    edge = start_edge(image=stand_in.image(events))
    edge.client.post("/v1/chat/completions", json={"model": "echo"})
    events.of("request")[-1]["headers"]

The process takes an events file and a mode: `ready`, `slow` (listens after two seconds), `exit` (exits at once with
code 3), `deaf` (never listens), `unready` (listens but never becomes ready). A request's `model` selects the behavior,
see `StandIn.answer`.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from dev.process_engine.containers import Image

GAP = 0.3
CHUNKS = 5
# Behaviors that a request can select. Other requests, and all but small JSON bodies, are parked first.
MODELS = ("echo", "length", "stream", "stepwise", "step", "endless", "silent", "stall", "die", "break", "teapot")
CONFIG = {
    "model_list": [
        {"model_name": name, "litellm_params": {"model": "openai/stand-in", "mock_response": "never"}}
        for name in MODELS
    ]
}
ROOT = Path(__file__).parents[2]


class Events:
    """Events of one or several stand-ins, also after they have exited: dicts with `event`, `pid` and `at`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def of(self, event: str) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return [found for line in lines if (found := json.loads(line))["event"] == event]

    def wait(self, event: str, matches: Callable[[dict[str, Any]], bool], timeout: float = 10) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for found in self.of(event):
                if matches(found):
                    return found
            time.sleep(0.02)
        raise AssertionError(f"no such {event!r} within {timeout:g} s")


def image(events: Events, mode: str = "ready") -> Image:
    return Image((sys.executable, "-m", "tests.edge.stand_in", str(events.path), mode), directory=ROOT)


class StandIn:
    """The running stand-in. `note` appends to the events file."""

    def __init__(self, events: Path, mode: str) -> None:
        self._events = events
        self._mode = mode
        self._parked: dict[str, tuple[int, bytes]] = {}
        self._steps = asyncio.Semaphore(0)

    def note(self, event: str, **fields: object) -> None:
        line = {"event": event, "pid": os.getpid(), "at": time.time(), **fields}
        with self._events.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    async def readiness(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "healthy"}, status=503 if self._mode == "unready" else 200)

    async def models(self, request: web.Request) -> web.Response:
        self.note("request", **_shown(request))
        return web.json_response({"object": "list", "data": []})

    async def configure(self, request: web.Request) -> web.Response:
        given = await request.json()
        self.note("configure", name=given["name"])
        return web.json_response({})

    async def journal(self, request: web.Request) -> web.Response:
        """Returns an empty journal page. The edge's reservations for the stand-in stay until they expire."""
        asked = await request.json()
        self.note("poll", **asked)
        await asyncio.sleep(asked["wait"])
        return web.json_response({"entries": [], "renew": [], "open": 0, "waiting": 0})

    async def park(self, request: web.Request) -> web.Response:
        """Parks any upload, free of charge."""
        self.note("park", **_shown(request))
        body = await _read(request)
        name = f"parked-{len(self._parked)}"
        self._parked[name] = body
        model = _model(body[1])
        said = {"id": name, "model": model, "amount": 0, "tokens": 0, "add_limit": None, "unpriced": ""}
        return web.json_response(said, headers={"x-request-id": request.headers["x-request-id"]})

    async def go(self, request: web.Request) -> web.StreamResponse:
        self.note("go", **_shown(request))
        return await self._answer(request, *self._parked[request.match_info["name"]])

    async def forget(self, request: web.Request) -> web.Response:
        self.note("forget", **_shown(request))
        del self._parked[request.match_info["name"]]
        return web.json_response({})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """- `echo`: returns the request's headers
        - `length`, or a body that is not JSON: returns the length of the body
        - `stream`: five chunks, 300 ms apart; `stepwise`: five, each followed by a wait for a `step`
        - `endless`: 20 chunks a second; `silent`: one chunk, then nothing
        - `stall`: no response; `die`: exits; `break`: disconnects after two chunks
        - `teapot`: an unusual status and headers
        """
        self.note("request", **_shown(request))
        return await self._answer(request, *await _read(request))

    async def _answer(self, request: web.Request, length: int, head: bytes) -> web.StreamResponse:
        request_id = request.headers["x-request-id"]
        model = _model(head)
        if model == "length":
            return web.json_response({"length": length, "id": request_id})
        if model == "die":
            os._exit(9)
        if model == "stall":
            await asyncio.sleep(3600)
        if model == "teapot":
            return web.json_response({"short": "stout"}, status=418, headers={"retry-after": "7", "x-own": "kept"})
        if model == "step":
            self._steps.release()
        if model in ("stream", "stepwise", "silent", "endless", "break"):
            return await self._stream(request, model)
        return web.json_response(_shown(request), headers={"x-request-id": request_id})

    async def _stream(self, request: web.Request, kind: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        number = 0
        pause = {"endless": 0.05, "silent": 3600, "stream": GAP, "stepwise": 0, "break": 0.1}[kind]
        try:
            while kind == "endless" or number < CHUNKS:
                await response.write(f"data: {number}\n\n".encode())
                number += 1
                if kind == "stepwise":
                    await self._steps.acquire()
                await asyncio.sleep(pause)
                if kind == "break" and number == 2:
                    os._exit(9)
        except (ConnectionError, asyncio.CancelledError):
            self.note("gone", id=request.headers["x-request-id"], chunks=number)
            raise
        return response


async def _read(request: web.Request) -> tuple[int, bytes]:
    """The length of a body and its first bytes."""
    length, head = 0, b""
    async for chunk in request.content.iter_any():
        length += len(chunk)
        head = head or chunk[:4096]
    return length, head


def _model(head: bytes) -> str:
    try:
        return json.loads(head)["model"]
    except (ValueError, KeyError):
        return "length"


def _shown(request: web.Request) -> dict[str, Any]:
    return {
        "id": request.headers.get("x-request-id"),
        "method": request.method,
        "path": request.raw_path,
        "headers": {name.lower(): value for name, value in request.headers.items()},
    }


def application(stand_in: StandIn) -> web.Application:
    app = web.Application(client_max_size=1 << 30)
    app.router.add_get("/health/readiness", stand_in.readiness)
    app.router.add_get("/{path:.*}", stand_in.models)
    app.router.add_post("/internal/journal", stand_in.journal)
    app.router.add_post("/internal/configuration", stand_in.configure)
    app.router.add_post("/internal/go/{name}", stand_in.go)
    app.router.add_delete("/internal/park/{name}", stand_in.forget)
    app.router.add_post("/internal/park/{path:.*}", stand_in.park)
    app.router.add_post("/{path:.*}", stand_in.answer)
    return app


def main(path: str, mode: str) -> int:
    stand_in = StandIn(Path(path), mode)
    stand_in.note("start", mode=mode, environment=dict(os.environ))
    if mode == "exit":
        return 3
    if mode == "deaf":
        time.sleep(3600)
    if mode == "slow":
        time.sleep(2)
    # When a client disconnects, its handler is cancelled, as in the proxy. The tests rely on that.
    web.run_app(
        application(stand_in),
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        print=None,
        handler_cancellation=True,
        access_log=None,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
