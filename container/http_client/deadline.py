"""A limit on how long something may take."""

import asyncio
from types import TracebackType


class Deadline:
    """What `asyncio.timeout` does, without its two coroutines, which cost every request more than its timer: the task
    is cancelled after `seconds`, and TimeoutError is raised in place of that, unless somebody else has cancelled the
    task, too."""

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
        # Our `cancel` is taken back whatever came of it, so that the task does not count as cancelled later.
        if self._expired and self._task.uncancel() <= self._cancelled_before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()
