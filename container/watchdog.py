"""Ends the process when its event loop hangs: a health check alone restarts nothing, an ended process is restarted."""

import asyncio
import os
import threading
import time

from . import log

EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h
_LOOKS_PER_LIMIT = 5


class Watchdog:
    """`limit`: seconds without a turn of the loop. A process that was stopped, or a machine that slept, is no hang."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._turned = time.monotonic()
        self._stopped = threading.Event()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Watches the running loop."""
        self._turn(asyncio.get_running_loop())
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._turned = time.monotonic()
        self._timer = loop.call_later(self._limit / _LOOKS_PER_LIMIT, self._turn, loop)

    def _watch(self) -> None:
        pause = self._limit / _LOOKS_PER_LIMIT
        silent_looks = 0
        while True:
            seen, asleep = self._turned, time.monotonic()
            if self._stopped.wait(pause):
                return
            # A look that comes late means that this thread did not run either.
            late = time.monotonic() - asleep > 3 * pause
            silent_looks = 0 if late or self._turned != seen else silent_looks + 1
            if silent_looks > _LOOKS_PER_LIMIT:
                log.error("hung", silent_seconds=round(time.monotonic() - self._turned, 1), effect="the process ends")
                log.flush()
                os._exit(EXIT_CODE)
