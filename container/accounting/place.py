"""Where the ledger is kept, and whether it can be."""

import fcntl
import os
import tempfile
from pathlib import Path

from ..config import Options
from ..ledger import PostgresStore, SqliteStore, Store
from ..settings import Settings

# Where a budget needs a ledger and nothing says where it lies.
DEFAULT_PATH = ".litellm-router/ledger.db"
# A LEDGER_PATH that ends with the process.
MEMORY = ":memory:"


class NoLedger(Exception):
    """Why the ledger cannot be kept where the settings say; the message says what to do."""


class Claim:
    """On a ledger file: `alone` while no other process has it. Ends with the process."""

    def __init__(self, path: Path) -> None:
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.alone = True
        except OSError:
            self.alone = False

    def close(self) -> None:
        os.close(self._lock)


def wanted(settings: Settings, options: Options) -> bool:
    """Whether this process keeps a ledger: standalone, when it is told where, or when the config sets a budget
    or declares keys."""
    if settings.internal_token:
        return False
    told = bool(settings.ledger_path or settings.database_url)
    return told or options.needs_ledger


def prepare(settings: Settings) -> Path | None:
    """Makes the directory of the ledger's file; None where it is in no file. Raises NoLedger."""
    if settings.database_url or settings.ledger_path == MEMORY:
        return None
    path = Path(settings.ledger_path or DEFAULT_PATH).absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise NoLedger(
            f"The ledger cannot be kept in {path.parent}: {error.strerror or error}. Set LEDGER_PATH to a file in a "
            "directory that can be written, or DATABASE_URL."
        ) from None
    return path


def store(settings: Settings, path: Path | None) -> Store:
    if settings.database_url:
        return PostgresStore(settings.database_url)
    return SqliteStore(path or MEMORY)
