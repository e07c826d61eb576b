"""The two doors' verifiers behind one interface: in this process, and in workerd."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import httpx

from container.server.token_door import TokenDoor
from dev.edge import OfflineEdge
from worker.core.identity.jwt import InvalidToken, KeysUnavailable, Trust, Verifier

WORKER = Path(__file__).parents[2] / "worker"
HERE = Path(__file__).parent / "worker"
Outcome = dict[str, Any]


class Verifying(Protocol):
    """A verifier of its own. `clock`: its monotonic clock, which only the test turns."""

    clock: float

    async def __call__(self, token: str, trusts: Sequence[Trust], now: float | None = None) -> Outcome:
        """Returns {"claims"}, {"invalid": reason} or {"unavailable": reason}."""
        ...

    async def close(self) -> None: ...


class Alone:
    def __init__(self, **options: Any) -> None:
        self.clock = 1000.0
        self._door = TokenDoor(connect_timeout=5)
        self._verifier = Verifier(self._door, **options, clock=lambda: self.clock)

    async def __call__(self, token: str, trusts: Sequence[Trust], now: float | None = None) -> Outcome:
        try:
            return {"claims": dict(await self._verifier.verify(token, trusts, time.time() if now is None else now))}
        except InvalidToken as error:
            return {"invalid": str(error)}
        except KeysUnavailable as error:
            return {"unavailable": str(error)}

    async def close(self) -> None:
        await self._door.close()


class Workerd:
    """The Worker with the edge's verifier. It needs about 200 MB."""

    def __init__(self, directory: Path) -> None:
        parts = [path for part in ("core", "edge") for path in (WORKER / part).rglob("*.py")]
        parts.append(WORKER / "catalog.py")
        sources = {path.relative_to(WORKER).as_posix(): path.read_text(encoding="utf-8") for path in parts}
        self.lines: list[str] = []
        self.edge = OfflineEdge(
            directory, {}, None, wrangler_path=HERE / "wrangler.jsonc", replaced=sources, log=self.lines.append
        )
        self.numbers = itertools.count()

    def start(self) -> None:
        assert self.edge.start("/") == 200

    def stop(self) -> None:
        self.edge.stop()


class AtTheEdge:
    def __init__(self, workerd: Workerd, **options: Any) -> None:
        self.clock = 1000.0
        self._name = str(next(workerd.numbers))
        self._options = options
        self._client = httpx.AsyncClient(base_url=workerd.edge.url, timeout=30)

    async def __call__(self, token: str, trusts: Sequence[Trust], now: float | None = None, **more: Any) -> Outcome:
        asked = {
            "token": token,
            "trusts": trusts,
            "now": time.time() if now is None else now,
            "clock": self.clock,
            "verifier": self._name,
            "options": self._options,
            **more,
        }
        found = (await self._client.post("/", json=asked)).json()
        assert "fault" not in found, found
        return found

    async def close(self) -> None:
        await self._client.aclose()
        await asyncio.sleep(0)
