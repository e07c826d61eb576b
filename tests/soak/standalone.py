"""The proxy alone: PostgreSQL for its ledger, Redis for cooldowns and LiteLLM as its engine, each interrupted in
turn."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import orjson
import yaml

from container.stores import PostgresStore
from tests import canaries
from tests.fakes.server import FakeProvider
from tests.ledger.postgres_server import PostgresServer
from tests.processes import MASTER_KEY, RunningProxy, free_tcp_port
from tests.redis_server import RedisServer
from tests.soak.chaos import Blow
from tests.soak.judge import Judge
from tests.soak.keys import OUTAGE, SHORT_OUTAGE, block_for_a_while, make_keys, provider_away, rotate, spend_at_rest
from tests.soak.ledger import balance
from tests.soak.models import config
from tests.soak.provider import SoakProvider
from tests.soak.watch import Watch

# Seconds until the reservations of a killed proxy have expired.
_LEASE, _SHORT_LEASE = 125.0, 15.0
# After it returns, the pool reconnects with growing delays.
_RECOVERY = 6.0
_ENGINE_RECOVERY = 60.0
_WAIT = 60.0
# Seconds of life in which the proxy of a short run has filled its caches.
_SHORTEST = 60.0
# Where the proxy counts its tasks, see `inside`.
_IN_A_PYTHON = {"PYTHONPATH": os.pathsep.join((str(Path(__file__).parent / "inside"), str(Path(__file__).parents[2])))}
_IN_A_FORK = {"IMPORT_IN_FORK": "tests.soak.inside.short"}


class Standalone:
    """The running system, and the disruptions of it."""

    has_engine = True

    def __init__(
        self, directory: Path, judge: Judge, shaky: SoakProvider, solid: FakeProvider, short: bool = False
    ) -> None:
        """`short`: forked processes, leases of ten seconds and short outages."""
        self._directory = directory
        self._judge = judge
        self._shaky = shaky
        self._solid = solid
        self._stack = ExitStack()
        self._probes = directory / "probes"
        self._logs: list[Path] = []
        self._made = 0
        self._killed_at: float | None = None
        self._proxy: RunningProxy
        self.keys: dict[str, str] = {}
        self._short = short
        self._outage, self._lease = (SHORT_OUTAGE, _SHORT_LEASE) if short else (OUTAGE, _LEASE)
        self._watch = Watch(self._probes, _SHORTEST if short else 0.0)
        self.watches = {"the proxy": self._watch}

    # Start and stop

    def start(self) -> None:
        self._probes.mkdir()
        self._postgres = self._stack.enter_context(PostgresServer())
        self._redis = self._stack.enter_context(RedisServer(self._directory, free_tcp_port()))
        self._database = self._postgres.new_database()
        self._config = self._directory / "litellm_config.yaml"
        self._write()
        self._start_proxy()
        self.keys = make_keys(self._admin())

    def _start_proxy(self) -> None:
        own = self._directory / f"proxy-{len(self._logs)}"
        own.mkdir()
        environment = {
            "DATABASE_URL": self._database,
            "REDIS_URL": self._redis.url,
            "SOAK_PROBE": str(self._probes),
            **(_IN_A_FORK if self._short else _IN_A_PYTHON),
            "CONFIG_WATCH": "false",
            "LEDGER_PATH": "",
            "SHUTDOWN_GRACE": "12",
        }
        proxy = RunningProxy(self._config, own, environment=environment)
        self._logs.append(proxy.log_path)
        proxy.__enter__()
        self._proxy = proxy

    def stop(self) -> None:
        """Stops everything. Checks the proxy's exit after a normal run."""
        try:
            if hasattr(self, "_proxy"):
                self._proxy.kill()
        finally:
            self._stack.close()

    @property
    def url(self) -> str:
        return self._proxy.url

    def look(self) -> None:
        self._watch.look(self._proxy.pid)

    def _admin(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {MASTER_KEY}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def _write(self) -> None:
        text = yaml.safe_dump(config(self._shaky, self._solid, number=self._made, engine=True), sort_keys=False)
        beside = self._config.with_suffix(".new")
        beside.write_text(text)
        beside.replace(self._config)

    # Disruptions

    def blows(self) -> list[Blow]:
        return [
            Blow("proxy killed (-9) and started", self._kill_proxy, until=0.12),
            Blow("proxy ended (SIGTERM) and started", self._restart_proxy, until=0.3),
            Blow("PostgreSQL ended at once", lambda seed: self._postgres_away(seed, self._postgres.stop)),
            Blow("PostgreSQL killed (-9)", lambda seed: self._postgres_away(seed, self._postgres.kill)),
            Blow("Redis killed (-9)", self._redis_away),
            Blow("engine killed (-9)", self._kill_engine),
            Blow("SIGHUP, a good config", self._reload),
            Blow("SIGHUP, a broken config", self._reload_broken),
            Blow("key rotated", self._rotate),
            Blow("key blocked and unblocked", self._block),
            Blow("provider away", self._provider_away),
        ]

    async def _kill_proxy(self, _: random.Random) -> None:
        dead = "unreachable", "cut", "refused 503"
        with self._judge.window("proxy killed", *dead, "broken of translated", after=1):
            self._proxy.kill()
            self._killed_at = time.monotonic()
            await asyncio.to_thread(self._start_proxy)
        self._engine_starts()

    async def _restart_proxy(self, _: random.Random) -> None:
        """Running responses finish. Only new requests fail to connect."""
        with self._judge.window("proxy restarted", "unreachable", "refused 503", after=1):
            await asyncio.to_thread(self._proxy.stop)
            await asyncio.to_thread(self._start_proxy)
        self._engine_starts()

    def _engine_starts(self) -> None:
        """The engine starts in the background, and requests for it wait at most ENGINE_START_TIMEOUT."""
        with self._judge.window(
            "engine starts", "refused 503 of translated", "refused 504 of translated", after=_ENGINE_RECOVERY
        ):
            pass

    async def _postgres_away(self, seed: random.Random, take_away: Callable[[], None]) -> None:
        with self._judge.window("PostgreSQL away", "refused 503", after=_RECOVERY):
            await asyncio.to_thread(take_away)
            await asyncio.sleep(seed.uniform(*self._outage))
            await asyncio.to_thread(self._postgres.start)
        await self._until(lambda: self._ledger_answers(), "the ledger after PostgreSQL's return")

    def _ledger_answers(self) -> bool:
        with self._admin() as admin:
            return admin.get("/global/spend").status_code == 200

    async def _redis_away(self, seed: random.Random) -> None:
        await asyncio.to_thread(self._redis.kill)
        await asyncio.sleep(seed.uniform(*self._outage))
        await asyncio.to_thread(self._redis.start)

    async def _kill_engine(self, _: random.Random) -> None:
        dead = [f"refused {status} of translated" for status in (502, 503, 504)] + ["broken of translated"]
        with self._judge.window("engine killed", *dead, after=_ENGINE_RECOVERY):
            for pid in _children(self._proxy.pid):
                os.kill(pid, signal.SIGKILL)

    async def _reload(self, _: random.Random) -> None:
        self._made += 1
        self._write()
        await self._hup("config_reloaded")

    async def _reload_broken(self, seed: random.Random) -> None:
        broken = ("model_list: [", "model_list: []", "nonsense: 1\nmodel_list: []", "model_list: [{model_name: a}]")
        self._config.write_text(seed.choice(broken))
        await self._hup("config_refused")
        self._write()

    async def _hup(self, event: str) -> None:
        before = self._events(event)
        os.kill(self._proxy.pid, signal.SIGHUP)
        await self._until(lambda: self._events(event) > before, event)

    def _events(self, name: str) -> int:
        lines = (line for line in self._proxy.log().splitlines() if line.startswith("{"))
        return sum(orjson.loads(line)["event"] == name for line in lines)

    async def _rotate(self, _: random.Random) -> None:
        await asyncio.to_thread(rotate, self._admin, self.keys)

    async def _block(self, seed: random.Random) -> None:
        await block_for_a_while(self._judge, self._admin, self.keys, seed.uniform(*self._outage))

    async def _provider_away(self, seed: random.Random) -> None:
        await provider_away(self._judge, self._shaky, seed.uniform(*self._outage))

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _WAIT
        while not await asyncio.to_thread(condition):
            if time.monotonic() > deadline:
                self._judge.found(f"no {what} within {_WAIT:g} s")
                return
            await asyncio.sleep(0.1)

    # Final checks

    async def settle(self) -> dict[str, Any]:
        """Waits until nothing is open, stops the proxy and compares. Returns figures for the table."""
        limit = 20.0
        if self._killed_at is not None:
            limit = max(limit, self._killed_at + self._lease - time.monotonic())
        spend = await asyncio.to_thread(spend_at_rest, self._admin, limit)
        if spend["running_requests"] or spend["reserved"]:
            self._judge.found(f"still reserved in the end: {spend}")
        await asyncio.to_thread(self.look)
        try:
            await asyncio.to_thread(self._proxy.stop)
        except AssertionError as error:
            self._judge.found(str(error))
        secrets = canaries.secrets_of({"DATABASE_URL": self._database, "LITELLM_MASTER_KEY": MASTER_KEY})
        secrets |= {key.encode() for key in self.keys.values()} | {b"sk-provider", b"soak-1-"}
        for log in self._logs:
            leaks = canaries.leaks(log.read_bytes(), secrets)
            if leaks:
                self._judge.found(f"{log.parent.name}'s log holds {leaks}")
        return await balance(PostgresStore(self._database), self._judge)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
