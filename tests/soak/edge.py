"""The Worker in workerd, with its ledger, and the container behind it: each is killed, stopped and restarted, and
configurations are deployed meanwhile."""

import asyncio
import dataclasses
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
from container.proxy import catalog
from container.stores import SqliteStore
from dev.edge import PROXY_CLASS, OfflineEdge, proxy_image
from dev.offline.build import Version
from tests import canaries, forked
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY
from tests.soak.chaos import Blow
from tests.soak.judge import Judge
from tests.soak.keys import OUTAGE, SHORT_OUTAGE, block_for_a_while, make_keys, provider_away, rotate, spend_at_rest
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
_LEASE_IN_SOURCE = "LEASE_MS = 120_000"
# In `Ledger.fetch`, where a header of the soak's own request asks for a fault of the object.
_FETCH = "        asked = headers.get(ASK_HEADER)\n"
_ASKS_FOR = "x-soak-fault"
_FAULTS = """

_slow_until = 0.0


async def _fault(ledger, asked_for):
    global _slow_until
    if asked_for == "evict":
        js.setTimeout(unwrapped(ledger.ctx).abort.bind(unwrapped(ledger.ctx)), 0, "evicted by the soak")
    elif asked_for:
        _slow_until = time.time() + float(asked_for)
    if time.time() < _slow_until:
        await asyncio.sleep(1.0)
"""
# Longer than without a fault, and shorter than clients wait.
_SLOW, _BRIEFLY_SLOW = (2.0, 6.0), (1.5, 2.5)
# Seconds of life in which workerd and the proxy have filled their caches.
_SHORTEST = 300.0
# Configurations that are deployed in turn: other cooldowns, another model.
_REVISIONS = (0, 1, 3)


class AtTheEdge:
    """The running system, and the disruptions of it."""

    has_engine = False

    def __init__(
        self, directory: Path, judge: Judge, shaky: SoakProvider, solid: FakeProvider, short: bool = False
    ) -> None:
        """`short`: short outages, and another configuration is deployed every three seconds."""
        self._directory = directory
        self._judge = judge
        self._shaky = shaky
        self._lines: list[str] = []
        proxy = (forked.image if short else proxy_image)(directory / "0.yaml")
        first, *others = (self._catalog(number, solid) for number in _REVISIONS)
        vars = {"LITELLM_MASTER_KEY": MASTER_KEY, "LOCAL_DEVELOPMENT": "true", "SHUTDOWN_GRACE": "12"}
        self._edge = OfflineEdge(
            directory,
            vars,
            {PROXY_CLASS: dataclasses.replace(proxy, environment=self._probing())},
            replaced={"catalog.py": first, "edge/objects/ledger.py": _faulty(_SOURCE.read_text())},
            versions=[Version(vars, {"catalog.py": each}) for each in others],
            log=self._lines.append,
        )
        self._deploy_every = 3.0 if short else 120.0
        self._outage, self._slow = (SHORT_OUTAGE, _BRIEFLY_SLOW) if short else (OUTAGE, _SLOW)
        self._deployed_at = 0.0
        self._revision = 0
        self.deployed = 0
        self._ended = False
        self.keys: dict[str, str] = {}
        self._workerd, self._proxy = Watch(None, _SHORTEST), Watch(directory / "probes", _SHORTEST)
        self.watches = {"workerd": self._workerd, "the proxy": self._proxy}

    def _catalog(self, number: int, solid: FakeProvider) -> str:
        path = self._directory / f"{number}.yaml"
        path.write_text(yaml.safe_dump(config(self._shaky, solid, number=number, engine=False)))
        return catalog.source(load(path, {}))

    def _probing(self) -> dict[str, str]:
        probes = self._directory / "probes"
        probes.mkdir()
        inside = os.pathsep.join((str(Path(__file__).parent / "inside"), str(Path(__file__).parents[2])))
        return {"SOAK_PROBE": str(probes), "PYTHONPATH": inside, "IMPORT_IN_FORK": "tests.soak.inside.sitecustomize"}

    def start(self) -> None:
        self._edge.start()
        self.keys = make_keys(self.admin())
        self._deployed_at = time.monotonic()

    def stop(self) -> None:
        self._edge.stop()
        (self._directory / "edge.log").write_text("\n".join(self._lines))

    @property
    def url(self) -> str:
        """Of the Worker with the configuration that was deployed last."""
        return [self._edge.url, *self._edge.version_urls][self._revision]

    def admin(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {MASTER_KEY}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def look(self) -> None:
        """Also deploys, because that is due at fixed times. A deployment excuses no failure."""
        if self._ended:
            return
        if time.monotonic() - self._deployed_at > self._deploy_every:
            self._deployed_at = time.monotonic()
            self._revision = (self._revision + 1) % len(_REVISIONS)
            self.deployed += 1
        if self._edge.workerd is not None and (pid := self._edge.workerd.pid):
            self._workerd.look(pid)
        for container in self._edge.containers("running")[-1:]:
            if container.pid is not None:
                self._proxy.look(container.pid)

    def blows(self) -> list[Blow]:
        return [
            Blow("container killed (-9)", self._kill_container, until=0.5),
            Blow("workerd killed (-9) and started", self._kill_worker, until=0.5),
            Blow("container told to end (SIGTERM)", self._terminate, until=0.5),
            Blow("object evicted", self._evict),
            Blow("ledger slow", self._slow_ledger),
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

    async def _evict(self, _: random.Random) -> None:
        """The object ends in the middle of everything. The next request makes another, with the same storage."""
        with self._judge.window("object evicted", "refused 503", "cut", "broken", after=_RECOVERY):
            await asyncio.to_thread(self._ask_for, "evict")

    async def _slow_ledger(self, seed: random.Random) -> None:
        """Every request waits a second for its admission, which excuses no failure."""
        seconds = seed.uniform(*self._slow)
        await asyncio.to_thread(self._ask_for, str(seconds))
        await asyncio.sleep(seconds)

    def _ask_for(self, fault: str) -> None:
        headers = {"authorization": f"Bearer {MASTER_KEY}", _ASKS_FOR: fault}
        body = {"model": "rock", "messages": [{"role": "user", "content": "Hello"}]}
        httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=30)

    def _signal(self, number: int) -> None:
        for found in self._edge.containers("running"):
            if found.pid is not None:
                os.kill(found.pid, number)

    async def _rotate(self, _: random.Random) -> None:
        await asyncio.to_thread(rotate, self.admin, self.keys)

    async def _block(self, seed: random.Random) -> None:
        await block_for_a_while(self._judge, self.admin, self.keys, seed.uniform(*self._outage))

    async def _provider_away(self, seed: random.Random) -> None:
        await provider_away(self._judge, self._shaky, seed.uniform(*self._outage))

    async def settle(self) -> dict[str, Any]:
        spend = await asyncio.to_thread(spend_at_rest, self.admin, _AT_REST)
        if spend["running_requests"] or spend["reserved"]:
            self._judge.found(f"still reserved in the end: {spend}")
        await asyncio.to_thread(self.look)
        self._ended = True
        await asyncio.to_thread(self._edge.stop)
        secrets = {MASTER_KEY.encode(), b"sk-provider", b"soak-1-", *(key.encode() for key in self.keys.values())}
        leaks = canaries.leaks("\n".join(self._lines).encode(), secrets)
        if leaks:
            self._judge.found(f"the edge's log holds {leaks}")
        found = await balance(SqliteStore(await asyncio.to_thread(self._ledger)), self._judge)
        return {**found, "configurations deployed": self.deployed}

    def _ledger(self) -> Path:
        """A copy of the Durable Object's database."""
        copy = self._directory / f"ledger-{time.monotonic_ns()}"
        copy.mkdir()
        (found,) = (one for one in self._directory.glob("storage/*Ledger/*.sqlite") if one.name != "metadata.sqlite")
        for one in found.parent.glob(f"{found.name}*"):
            shutil.copy(one, copy / one.name)
        return copy / found.name


def _faulty(source: str) -> str:
    """The ledger's module with short leases and the faults."""
    for text in (_LEASE_IN_SOURCE, _FETCH):
        assert source.count(text) == 1, text
    source = source.replace(_LEASE_IN_SOURCE, f"LEASE_MS = {_LEASE}_000")
    fault = f'        await _fault(self, headers.get("{_ASKS_FOR}"))\n'
    return source.replace(_FETCH, fault + _FETCH) + _FAULTS
