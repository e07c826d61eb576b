"""A timeout for a block of code."""

import asyncio
from types import TracebackType


class Deadline:
    """A cheaper `asyncio.timeout`, whose two coroutine calls cost more per request than its timer.

    Cancels the task after `seconds` and raises TimeoutError instead of CancelledError, unless the task was also
    cancelled from elsewhere.
    """

    __slots__ = ("_cancelled_before", "_expired", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "only a task can be cancelled"
        self._task = task
        self._cancelled_before = task.cancelling()
        self._expired = False
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._expire)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        # Undo our own cancellation in any case, so that the task does not count as cancelled later.
        if self._expired and self._task.uncancel() <= self._cancelled_before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()
