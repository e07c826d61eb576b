"""The Worker in workerd, with its ledger, and the container behind it: each is killed, stopped and restarted."""

import asyncio
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import yaml

from container.config.load import load
from container.ledger.sqlite import SqliteStore
from container.proxy import catalog
from dev.edge import PROXY_CLASS, OfflineEdge, proxy_image
from tests import canaries
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY
from tests.soak.chaos import Blow
from tests.soak.judge import Judge
from tests.soak.keys import block_for_a_while, make_keys, provider_away, rotate, spend_at_rest
from tests.soak.ledger import balance
from tests.soak.models import config
from tests.soak.provider import SoakProvider
from tests.soak.watch import Watch

# Seconds: the lease of a reservation without renewals, and the time until all have expired.
_LEASE = 10
_AT_REST = 30.0
# A container that died restarts within two seconds, or five seconds later after a failed start.
_RECOVERY = 10.0
_SOURCE = Path(__file__).parents[2] / "worker" / "edge/objects/ledger.py"


class AtTheEdge:
    """The running system, and the disruptions of it."""

    has_engine = False

    def __init__(self, directory: Path, judge: Judge, shaky: SoakProvider, solid: FakeProvider) -> None:
        self._directory = directory
        self._judge = judge
        self._shaky = shaky
        self._lines: list[str] = []
        path = directory / "litellm_config.yaml"
        path.write_text(yaml.safe_dump(config(shaky, solid, engine=False)))
        leases = _SOURCE.read_text().replace("LEASE_MS = 120_000", f"LEASE_MS = {_LEASE}_000")
        self._edge = OfflineEdge(
            directory,
            {"LITELLM_MASTER_KEY": MASTER_KEY, "LOCAL_DEVELOPMENT": "true", "SHUTDOWN_GRACE": "12"},
            {PROXY_CLASS: proxy_image(path)},
            replaced={"catalog.py": catalog.source(load(path, {})), "edge/objects/ledger.py": leases},
            log=self._lines.append,
        )
        self.keys: dict[str, str] = {}
        self.watch: Watch | None = None

    def start(self) -> None:
        self._edge.start()
        self.keys = make_keys(self.admin())

    def stop(self) -> None:
        self._edge.stop()

    @property
    def url(self) -> str:
        return self._edge.url

    def admin(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {MASTER_KEY}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def look(self) -> None:
        """workerd's memory is not ours to check."""

    def blows(self) -> list[Blow]:
        return [
            Blow("container killed (-9)", self._kill_container),
            Blow("workerd killed (-9) and started", self._kill_worker),
            Blow("container told to end (SIGTERM)", self._terminate),
            Blow("key rotated", self._rotate),
            Blow("key blocked and unblocked", self._block),
            Blow("provider away", self._provider_away),
        ]

    async def _kill_container(self, _: random.Random) -> None:
        with self._judge.window("container killed", "refused 503", "cut", after=_RECOVERY):
            self._signal(signal.SIGKILL)

    async def _terminate(self, _: random.Random) -> None:
        """Running requests finish as they should. Some new ones are told to retry."""
        with self._judge.window("container told to end", "refused 503", after=2 * _RECOVERY):
            self._signal(signal.SIGTERM)

    async def _kill_worker(self, _: random.Random) -> None:
        with self._judge.window("workerd killed", "unreachable", "cut", "refused 503", after=_RECOVERY):
            self._edge.kill_worker()
            await asyncio.to_thread(self._edge.start_worker)

    def _signal(self, number: int) -> None:
        for found in self._edge.containers("running"):
            if found.pid is not None:
                os.kill(found.pid, number)

    async def _rotate(self, _: random.Random) -> None:
        await asyncio.to_thread(rotate, self.admin, self.keys)

    async def _block(self, seed: random.Random) -> None:
        await block_for_a_while(self._judge, self.admin, self.keys, seed)

    async def _provider_away(self, seed: random.Random) -> None:
        await provider_away(self._judge, self._shaky, seed)

    async def settle(self) -> dict[str, Any]:
        spend = await asyncio.to_thread(spend_at_rest, self.admin, _AT_REST)
        if spend["running_requests"] or spend["reserved"]:
            self._judge.found(f"still reserved in the end: {spend}")
        await asyncio.to_thread(self._edge.stop)
        secrets = {MASTER_KEY.encode(), b"sk-provider", b"soak-1-", *(key.encode() for key in self.keys.values())}
        leaks = canaries.leaks("\n".join(self._lines).encode(), secrets)
        if leaks:
            self._judge.found(f"the edge's log holds {leaks}")
        return await balance(SqliteStore(await asyncio.to_thread(self._ledger)), self._judge)

    def _ledger(self) -> Path:
        """A copy of the Durable Object's database."""
        copy = self._directory / f"ledger-{time.monotonic_ns()}"
        copy.mkdir()
        (found,) = (one for one in self._directory.glob("storage/*Ledger/*.sqlite") if one.name != "metadata.sqlite")
        for one in found.parent.glob(f"{found.name}*"):
            shutil.copy(one, copy / one.name)
        return copy / found.name
