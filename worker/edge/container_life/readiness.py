"""The last start of a container, on record, and whether it serves."""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

KEY = "started"


@dataclass(frozen=True, slots=True)
class Started:
    """What outlives the object: the running container's token, when it was started (Unix time), what it was given."""

    token: str
    at: float
    fingerprint: str


class Record(Protocol):
    """Durable memory of the last start."""

    def load(self) -> Started | None: ...

    def save(self, started: Started) -> None: ...


class StoredRecord:
    """`storage`: the object's `ctx.storage`; its key-value side is synchronous on SQLite."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def load(self) -> Started | None:
        text = self._storage.kv.get(KEY)
        return Started(**json.loads(text)) if isinstance(text, str) else None

    def save(self, started: Started) -> None:
        self._storage.kv.put(KEY, json.dumps(asdict(started)))


# Seconds that one question may take.
PROBE_TIMEOUT = 5.0
# Between two of them; short at first, as a container is up in about one second.
FIRST_WAIT, LONGEST_WAIT, WAIT_FACTOR = 0.05, 1.0, 1.5


class Engine(Protocol):
    """The container as a Durable Object has it."""

    @property
    def running(self) -> bool: ...

    def start(self, environment: Mapping[str, str]) -> None:
        """Begins to start; a failure shows later as not `running`, or at once as an exception."""

    async def ended(self) -> str:
        """Why it is not running any more. Settles promptly once `running` is false."""
        ...

    async def probe(self, timeout: float) -> str | None:
        """Asks for readiness. None when it serves, else what it did instead. Does not raise."""
        ...

    async def destroy(self) -> None: ...

    def terminate(self) -> None:
        """SIGTERM: it takes nothing new, and ends when what it runs has ended."""
        ...

    async def set_inactivity_timeout(self, seconds: float) -> None: ...


def waits() -> Iterator[float]:
    """Seconds between two questions, without end."""
    wait = FIRST_WAIT
    while True:
        yield wait
        wait = min(wait * WAIT_FACTOR, LONGEST_WAIT)


async def until_ready(engine: Engine, limit: float) -> str | None:
    """None once the container serves, else why it does not after `limit` seconds or when it has ended."""
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
