"""Adapts `ctx.container` to the `Engine` protocol."""

import asyncio
from collections.abc import Mapping
from typing import Any

from pyodide.ffi import JsException

from ..runtime.javascript import error_text, js, js_object

# The image's default port.
PORT = 4000
READINESS = "http://container/health/readiness"
# Seconds to wait for `monitor()` to return the exit code of a container that has ended.
EXIT_CODE_TIMEOUT = 2.0
_SIGTERM = 15


class NeverConnected(Exception):
    """Nothing was listening in the container, so nothing of the request was sent."""


class CloudflareContainer:
    """The container of one Durable Object."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self._fetch: Any = None  # the port's method; looking it up costs as much as calling it

    @property
    def running(self) -> bool:
        return bool(self._container.running)

    def start(self, environment: Mapping[str, str]) -> None:
        self._container.start(js_object({"enableInternet": True, "env": dict(environment)}))

    async def ended(self) -> str:
        # Only called after the container has ended: a pending monitor() keeps the object in memory.
        try:
            await asyncio.wait_for(self._container.monitor(), EXIT_CODE_TIMEOUT)
        except TimeoutError:
            return "it ended"
        except JsException as error:
            code = getattr(error, "exitCode", None)
            if code is not None:
                return f"it ended with exit code {code}"
            return f"{error_text(error)} (no such image, no free instance, or the engine refused it)"
        return "it ended with exit code 0"

    async def probe(self, timeout: float) -> str | None:
        signal = js.AbortSignal.timeout(int(timeout * 1000))
        try:
            response = await self.fetch(READINESS, signal=signal)
            status = response.status
            if response.body:
                await response.body.cancel()
        except JsException as error:
            return error_text(error)
        return None if status == 200 else f"its /health/readiness answered {status}"

    def fetch(self, request: Any, **init: Any) -> Any:
        """Returns a promise of the container's response to a JS Request or URL."""
        if self._fetch is None:
            self._fetch = self._container.getTcpPort(PORT).fetch
        return self._fetch(request, **init)

    async def destroy(self) -> None:
        await self._container.destroy()

    def terminate(self) -> None:
        self._container.signal(_SIGTERM)

    async def set_inactivity_timeout(self, seconds: float) -> None:
        if hasattr(self._container, "setInactivityTimeout"):
            await self._container.setInactivityTimeout(int(seconds * 1000))


def never_connected(error: JsException) -> bool:
    """Whether a request failed before any of it was sent, because nothing was listening."""
    text = error_text(error)
    return "is not listening" in text or "is not running" in text
