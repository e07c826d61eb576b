"""Where the ledger is stored, and whether that location is usable."""

import fcntl
import os
import re
import tempfile
from pathlib import Path

from ..config.options import Options
from ..server.settings import Settings
from .stores import PostgresStore, SqliteStore, Store

# The default location. In the image it is a link to /data.
DEFAULT_PATH = ".litellm-router/ledger.db"
# The LEDGER_PATH of a ledger that lives in memory.
MEMORY = ":memory:"
# A container's own layer is lost when it is replaced, an in-memory file system when the machine restarts.
_CONTAINERS = frozenset(("overlay", "fuse-overlayfs", "aufs"))
_FLEETING = _CONTAINERS | {"tmpfs", "ramfs"}
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")


class NoLedger(Exception):
    """The ledger cannot be stored in the configured location. The message says what to do."""


class Claim:
    """A lock on a ledger file. `alone` is True if no other process holds it. Released when the process exits."""

    def __init__(self, path: Path) -> None:
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.alone = True
        except OSError:
            self.alone = False

    def close(self) -> None:
        os.close(self._lock)


def wanted(settings: Settings) -> bool:
    """Whether this process keeps a ledger, which every standalone proxy does."""
    return not settings.internal_token


def required(settings: Settings, options: Options) -> bool:
    """Whether the proxy must not start without a ledger: a location is set, or the config has budgets or keys."""
    return bool(settings.ledger_path or settings.database_url) or options.needs_ledger


def ephemeral_mount(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """Explain why data at this path will be lost, or return None if it will not or if that is unknown.

    `mounts`: Linux's list of file systems, in the format of proc_pid_mountinfo(5).
    """
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return None
    place = path.parent.resolve()
    best, kind = -1, ""
    for line in lines:
        left, _, right = line.partition(" - ")
        point = Path(_ESCAPED.sub(lambda m: chr(int(m[1], 8)), left.split()[4]))
        if (place == point or point in place.parents) and len(point.parts) >= best:
            best, kind = len(point.parts), right.split()[0]
    if kind not in _FLEETING:
        return None
    lost = "it is replaced" if kind in _CONTAINERS else "the machine or the container starts anew"
    whose = "the container's own disk" if kind in _CONTAINERS else "in memory"
    return (
        f"{place} is {whose}: keys and spending are lost when {lost}. Put a volume there, or set LEDGER_PATH to a file "
        "on a disk that stays, or DATABASE_URL."
    )


def unusable(settings: Settings) -> str | None:
    """Return the error that `prepare` would raise, or None, without changing anything."""
    path = where(settings)
    if path is None:
        return None
    found = path.parent
    while not found.exists() and found != found.parent:
        found = found.parent
    if found.is_dir() and os.access(found, os.W_OK | os.X_OK):
        return None
    return _cannot(path, "It cannot be written")


def where(settings: Settings) -> Path | None:
    """Return the ledger's file, or None if it has none."""
    if settings.database_url or settings.ledger_path == MEMORY:
        return None
    return Path(settings.ledger_path or DEFAULT_PATH).absolute()


def prepare(settings: Settings) -> Path | None:
    """Create the directory of the ledger's file. Return the file, or None if there is none. Raises NoLedger."""
    path = where(settings)
    if path is None:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise NoLedger(_cannot(path, error.strerror or str(error))) from None
    return path


def _cannot(path: Path, why: str) -> str:
    return (
        f"The ledger cannot be kept in {path.parent}: {why}. Set LEDGER_PATH to a file in a directory that can be "
        "written, or DATABASE_URL."
    )


def store(settings: Settings, path: Path | None) -> Store:
    if settings.database_url:
        return PostgresStore(settings.database_url)
    return SqliteStore(path or MEMORY)
