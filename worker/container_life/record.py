"""The last start, kept in the Durable Object's storage."""

import json
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
