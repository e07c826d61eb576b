"""A lock between processes that are forked from the same one. A process that is killed loses it.

https://man7.org/linux/man-pages/man2/F_SETLK.2const.html
"""

import fcntl
import os
import tempfile
from types import TracebackType


class ProcessLock:
    """Make it before the fork. May be nested within a thread. Nothing may be awaited meanwhile."""

    def __init__(self) -> None:
        self._file = _file()
        self._depth = 0

    def __enter__(self) -> None:
        if not self._depth:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._depth -= 1
        if not self._depth:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


def _file() -> int:
    """A file without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("litellm-router-lock", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
