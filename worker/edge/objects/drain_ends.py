"""Adapters for `Drain`: the container's journal, the ledger object and this object's alarm."""

import time
from typing import Any

from pyodide.ffi import JsException, create_proxy

from core.protocol import JOURNAL_PATH, TOKEN_HEADER, JournalPage, JournalPoll, instance_of

from ..container_life.engine import CloudflareContainer
from ..container_life.lifecycle import Lifecycle
from ..container_life.readiness import Started
from ..ledger_client import LedgerClient, LedgerUnavailable
from ..runtime.javascript import error_text, js, js_headers
from .usage_drain import Failed, LedgerFailed

_URL = f"http://container{JOURNAL_PATH}"
# Seconds that a response may take beyond the time the poll is held.
_SLACK = 10.0


class RunningContainer:
    """The journal of the object's container. It never wakes the container."""

    def __init__(self, engine: CloudflareContainer, life: Lifecycle) -> None:
        self._engine = engine
        self._life = life

    @property
    def instance(self) -> str | None:
        return _instance(self._life.running)

    @property
    def ended(self) -> str | None:
        return _instance(self._life.ended)

    async def page(self, ack: int, wait: float, doubtful: list[str]) -> JournalPage:
        started = self._life.running
        if started is None:
            raise Failed("it does not run")
        aborting = js.AbortController.new()
        abort = create_proxy(lambda: aborting.abort())
        timer = js.setTimeout(abort, int((wait + _SLACK) * 1000))
        try:
            request = js.Request.new(
                _URL,
                method="POST",
                headers=js_headers([(TOKEN_HEADER, started.token)]),
                body=JournalPoll(ack, wait, doubtful).encode(),
                signal=aborting.signal,
            )
            response = await self._engine.fetch(request)
            text = await response.text()
        except JsException as error:
            self._life.suspect()
            raise Failed(error_text(error)) from None
        finally:
            js.clearTimeout(timer)  # a pending timer keeps the object in memory
            abort.destroy()
        if response.status != 200:
            raise Failed(f"the journal returned {response.status}")
        return JournalPage.decode(text)


class LedgerObject:
    """The ledger object as a `usage_drain.Ledger`."""

    def __init__(self, client: LedgerClient) -> None:
        self._client = client

    async def report(self, instance: str, reports: list[list[Any]], renew: list[str]) -> None:
        await self._call("report", {"instance": instance, "reports": reports, "renew": renew})

    async def ended(self, instance: str) -> None:
        await self._call("ended", {"instance": instance})

    async def bind(self, id: str, instance: str) -> None:
        await self._client.call("bind", {"id": id, "instance": instance})

    async def _call(self, method: str, fields: dict[str, Any]) -> None:
        try:
            await self._client.call(method, fields)
        except LedgerUnavailable as error:
            raise LedgerFailed(str(error)) from None


class StorageAlarm:
    """The object's only alarm. `storage`: `ctx.storage`."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def set(self, seconds: float) -> None:
        self._storage.setAlarm(int((time.time() + seconds) * 1000))

    def delete(self) -> None:
        self._storage.deleteAlarm()


def _instance(started: Started | None) -> str | None:
    return None if started is None else instance_of(started.token)
