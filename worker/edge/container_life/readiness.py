"""The stored record of a container's last start, and the check for readiness."""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

KEY = "started"


class Started(NamedTuple):
    """State that outlives the object: the container's token, start time (Unix) and environment fingerprint."""

    token: str
    at: float
    fingerprint: str


class Record(Protocol):
    """Durable storage for the last start."""

    def load(self) -> Started | None: ...

    def save(self, started: Started) -> None: ...


class StoredRecord:
    """`storage`: the object's `ctx.storage`. Its key-value API is synchronous on SQLite."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def load(self) -> Started | None:
        text = self._storage.kv.get(KEY)
        return Started(**json.loads(text)) if isinstance(text, str) else None

    def save(self, started: Started) -> None:
        self._storage.kv.put(KEY, json.dumps(started._asdict()))


# The maximum seconds for one probe.
PROBE_TIMEOUT = 5.0
# Seconds between two probes. The first waits are short, because a container is ready in about one second.
FIRST_WAIT, LONGEST_WAIT, WAIT_FACTOR = 0.05, 1.0, 1.5


class Engine(Protocol):
    """A Durable Object's container."""

    @property
    def running(self) -> bool: ...

    def start(self, environment: Mapping[str, str]) -> None:
        """Starts the container. A failure shows later as not `running`, or is raised immediately."""

    async def ended(self) -> str:
        """Returns why the container is not running. Returns promptly once `running` is false."""
        ...

    async def probe(self, timeout: float) -> str | None:
        """Checks readiness. Returns None if the container serves, else the failure. Does not raise."""
        ...

    async def destroy(self) -> None: ...

    def terminate(self) -> None:
        """Sends SIGTERM: the container accepts nothing new and ends when its requests have finished."""
        ...

    async def set_inactivity_timeout(self, seconds: float) -> None: ...


def waits() -> Iterator[float]:
    """Yields the seconds between probes, endlessly."""
    wait = FIRST_WAIT
    while True:
        yield wait
        wait = min(wait * WAIT_FACTOR, LONGEST_WAIT)


async def until_ready(engine: Engine, limit: float) -> str | None:
    """Returns None once the container serves, or the reason if it has ended or is not ready after `limit` seconds."""
    deadline = time.monotonic() + limit
    for wait in waits():
        if not engine.running:
            return await engine.ended()
        answer = await engine.probe(max(0.05, min(PROBE_TIMEOUT, deadline - time.monotonic())))
        if answer is None:
            return None
        left = deadline - time.monotonic()
        if left <= 0:
            return f"it did not get ready within {limit:g} seconds ({answer})"
        await asyncio.sleep(min(wait, left))
    raise AssertionError("waits() is endless")
