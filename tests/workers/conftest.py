"""Fixtures: a proxy with several workers, and what can be seen of its processes."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.accounting.conftest import Ledgered
from tests.fakes.server import FakeProvider
from tests.money import chat, deployment, wait_for
from tests.processes import MASTER_KEY, RunningProxy, StartProxy

HUB = "router hub"


class Workers(Ledgered):
    """A running proxy with several workers. Each request has its own connection, so that any worker may get it."""

    def __init__(self, proxy: RunningProxy, count: int) -> None:
        super().__init__(proxy)
        self.http = httpx.Client(
            base_url=proxy.url, timeout=60, limits=httpx.Limits(max_keepalive_connections=0), trust_env=False
        )
        self.count = count

    def processes(self) -> dict[str, int]:
        """Process ids by name: "router hub", "router worker 0", …"""
        pids = Path(f"/proc/{self.proxy.pid}/task/{self.proxy.pid}/children").read_text().split()
        found = {}
        for pid in pids:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                found[Path(f"/proc/{pid}/comm").read_text().strip()] = int(pid)
        return found

    def workers(self) -> list[int]:
        return [pid for name, pid in sorted(self.processes().items()) if name.startswith("router worker")]

    def kill_a_worker(self) -> int:
        """kill -9. Returns its process id."""
        pid = self.workers()[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    async def burst(self, requests: int, key: str | None = None, *, at_once: int = 40, **fields: Any) -> list[int]:
        """Sends chat completions, each on a new connection. Returns their statuses; 0 where the connection broke."""
        door = asyncio.Semaphore(at_once)

        async def one(client: httpx.AsyncClient) -> int:
            async with door:
                try:
                    return (await client.post("/v1/chat/completions", json=chat(**fields))).status_code
                except httpx.TransportError:
                    return 0

        async with self.client(key) as client:
            return await asyncio.gather(*(one(client) for _ in range(requests)))

    def client(self, key: str | None = None) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.proxy.url,
            headers={"authorization": f"Bearer {key or MASTER_KEY}"},
            timeout=60,
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
        )

    def logs(self, key: str | None = None) -> list[dict[str, Any]]:
        """Every page."""
        lines: list[dict[str, Any]] = []
        query: dict[str, Any] = {"key": key} if key else {}
        while True:
            page = self.admin("/spend/logs", **query)
            lines += page["data"]
            if page["next"] is None:
                return lines
            query["after"] = page["next"]

    def log_count(self, event: str) -> int:
        """How often the log has this event."""
        return sum(f'"{event}"' in line for line in self.proxy.log().splitlines())

    def metric(self, start: str) -> float:
        """The sum of the series whose lines begin like this."""
        text = self.http.get("/metrics", headers={"authorization": f"Bearer {MASTER_KEY}"}).text
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(start))


async def reached(fake: FakeProvider, count: int) -> None:
    """Wait until so many requests are at the provider."""
    async with asyncio.timeout(20):
        while fake.in_flight < count:  # noqa: ASYNC110 it is in another thread
            await asyncio.sleep(0.01)


@pytest.fixture
def start(proxy: StartProxy, fake: FakeProvider) -> Callable[..., Workers]:
    """`start(count, litellm_settings…, models=[…], router={…}, environment={…})`. The default is one model, `gpt`."""

    def started(count: int = 4, **options: Any) -> Workers:
        environment = {"NUM_WORKERS": str(count), **options.pop("environment", {})}
        config: dict[str, Any] = {
            "model_list": options.pop("models", None) or [deployment(fake, "gpt")],
            "router_settings": {"num_retries": 0, "disable_cooldowns": True, **options.pop("router", {})},
        }
        if options:
            config["litellm_settings"] = options
        running = Workers(proxy(config, environment=environment), count)
        wait_for(running.workers, lambda found: len(found) == count)
        return running

    return started


Start = Callable[..., Workers]
