"""A Durable Object's ledger as a store for tests: a small Worker around the edge's own `runtime.sql`.

A whole decision runs in the object: the test sends the function that creates its generator, and the arguments.
"""

import base64
import io
import itertools
import json
import pickle
from pathlib import Path
from types import GeneratorType
from typing import Any

import aiohttp

from dev.edge import OfflineEdge
from tests.ledger.support import BrokenOff, breaking_off
from worker.core.ledger.decision import SQLITE, Decision, Dialect, Row, Steps
from worker.core.ledger.owners import OwnerKind

HERE = Path(__file__).parent / "durable"
WORKER = Path(__file__).parents[2] / "worker"
# The Worker's error when a decision was asked to break off.
BROKEN_OFF = "broken off on purpose"


class DurableObjects:
    """workerd with the Worker. `new_name()` names an empty ledger."""

    def __init__(self, directory: Path) -> None:
        parts = [path for part in ("core", "edge/runtime") for path in (WORKER / part).rglob("*.py")]
        sources = {path.relative_to(WORKER).as_posix(): path.read_text(encoding="utf-8") for path in parts}
        self.edge = OfflineEdge(directory, {}, None, wrangler_path=HERE / "wrangler.jsonc", replaced=sources)
        self._numbers = itertools.count()

    def start(self) -> None:
        assert self.edge.start("/") == 200

    def stop(self) -> None:
        self.edge.stop()

    def kill(self) -> None:
        """kill -9. A new workerd continues with the same storage."""
        self.edge.kill_worker()
        self.edge.start_worker("/")

    def new_name(self) -> str:
        return f"ledger-{next(self._numbers)}"


def make_steps(module: str, name: str, arguments: dict[str, Any]) -> Steps:
    """Local stand-in for a function in the Worker: the pickled form tells the Worker to call its own."""
    raise NotImplementedError


def owner_kind(name: str) -> OwnerKind:
    """Local stand-in: the Worker uses its own."""
    raise NotImplementedError


class _Packer(pickle.Pickler):
    """Pickles a generator that has not started as the call that creates it, and a kind of owner by its name."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, OwnerKind):
            return owner_kind, (obj.name,)
        if not isinstance(obj, GeneratorType):
            return NotImplemented
        frame = obj.gi_frame
        return make_steps, (frame.f_globals["__name__"], obj.gi_code.co_name, dict(frame.f_locals))


class DurableStore:
    """`url` is the Worker's, `name` the object's."""

    def __init__(self, url: str, name: str) -> None:
        self.dialect: Dialect = SQLITE
        self._base = f"{url}/{name}/"
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        self._session = aiohttp.ClientSession()

    async def close(self) -> None:
        assert self._session is not None
        await self._session.close()

    async def reload(self) -> None:
        """Creates a new store over the same storage. (Aborting an object would crash Pyodide.)"""
        status, answer = await self._post("reload", {})
        assert status == 200, answer

    async def rows(self) -> tuple[int, int]:
        """The rows written and read since the last call, as Cloudflare bills them. The first call starts counting."""
        status, answer = await self._post("rows", {})
        assert status == 200, answer
        found = json.loads(answer)
        return found["written"], found["read"]

    async def fail(self) -> None:
        """Runs a decision that writes and then raises. Raises AssertionError with its text."""
        status, answer = await self._post("fail", {})
        assert status == 200, answer

    async def run(self, decision: Decision) -> Any:
        steps: Any = decision.steps
        breaks_off = None
        if steps.gi_code is breaking_off.__code__:
            steps, breaks_off = steps.gi_frame.f_locals["steps"], steps.gi_frame.f_locals["after"]
        if not steps.gi_frame.f_globals["__name__"].startswith("worker.core.ledger."):
            return await self._statement_by_statement(decision)
        packed = io.BytesIO()
        _Packer(packed).dump(steps)
        decision.steps.close()
        text = base64.b64encode(packed.getvalue()).decode()
        asked = {"steps": text, "transaction": decision.transaction, "breaks_off": breaks_off}
        status, answer = await self._post("run", asked)
        if breaks_off is not None:
            assert status == 500, answer
            assert BROKEN_OFF in answer, answer
            raise BrokenOff
        assert status == 200, answer
        return json.loads(answer)

    async def _statement_by_statement(self, decision: Decision) -> Any:
        """Runs a test's own reads and setup, one statement at a time."""
        steps = decision.steps
        try:
            sql, parameters = next(steps)
            while True:
                sql, parameters = steps.send(await self._rows(sql, parameters))
        except StopIteration as end:
            return end.value

    async def _rows(self, sql: str, parameters: tuple[Any, ...]) -> list[Row]:
        status, answer = await self._post("execute", {"sql": sql, "parameters": parameters})
        assert status == 200, answer
        return json.loads(answer)

    async def _post(self, method: str, fields: dict[str, Any]) -> tuple[int, str]:
        assert self._session is not None, "open() comes first"
        async with self._session.post(self._base + method, json=fields) as response:
            return response.status, await response.text()
