"""xdist's workers as forks of one process that has imported and collected the tests.

Collecting takes 15 seconds of CPU, which each worker would take. xdist starts `forked_child` as the interpreter of a
worker, and the fork takes its place: it speaks with xdist from the end of the collection on.
"""

import atexit
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from xdist import remote

from tests import forked_child
from tests.forked import ROOT, end_with_the_parent

# In the process that collects: the number of the socket on which xdist's workers are asked for.
_SOCKET = "TESTS_WORKERS"
# What xdist executes in a worker.
REMOTE = "from tests import forked_workers\nforked_workers.work(channel)"
_session: pytest.Session | None = None
_collected: list[tuple[str, dict[str, Any]]] = []


@contextlib.contextmanager
def collected(config: pytest.Config) -> Iterator[None]:
    """Within it, the workers that xdist starts are forks."""
    with tempfile.TemporaryDirectory(prefix="workers-") as folder:
        address = f"{folder}/workers"
        with forked_child.listen(address) as listening, Path(folder, "output").open("wb") as output:
            number = listening.fileno()
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", *map(str, config.invocation_params.args)],
                cwd=config.invocation_params.dir,
                env=os.environ | {_SOCKET: str(number), "PYTHONPATH": str(ROOT)},
                pass_fds=[number],
                stdout=output,
            )
        interpreter = f"{sys.executable} -S {forked_child.__file__} {address}"
        config.option.tx = [f"popen//python={interpreter}"] * len(config.option.tx)
        try:
            yield
            if process.poll() is not None:  # it should have waited
                sys.stderr.write(Path(folder, "output").read_text())
        finally:
            process.kill()
            process.wait()


def collects() -> bool:
    return _SOCKET in os.environ


def record(event: str, **details: Any) -> None:
    """Keeps what happens while the tests are collected, for the workers to report."""
    if _session is None:
        _collected.append((event, details))


def serve(session: pytest.Session) -> None:
    """Forks workers for as long as xdist runs."""
    global _session
    _session = session
    number = int(os.environ.pop(_SOCKET))
    end_with_the_parent()
    session.config.pluginmanager.getplugin("capturemanager").stop_global_capturing()
    terminal: Any = session.config.pluginmanager.unregister(name="terminalreporter")
    session.config.pluginmanager.register(types.SimpleNamespace(_tw=terminal._tw), "terminalreporter")
    forked_child.serve(socket.socket(fileno=number), _become_a_worker)


def _become_a_worker(_: Sequence[str]) -> None:
    """What an interpreter that xdist has started does."""
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    exec(eval(sys.stdin.readline()), {"__name__": "__main__"})
    atexit._run_exitfuncs()


class _Worker(remote.WorkerInteractor):
    """Reports failures, and of a test that passed only the call. The rest is most of what workers and xdist would talk
    about."""

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        pass

    def pytest_runtest_logfinish(self, nodeid: str, location: Any) -> None:
        pass

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed or self.config.option.durations is not None:
            super().pytest_runtest_logreport(report)


def work(channel: Any) -> None:
    """What `xdist.remote` does, but for the collection."""
    assert _session is not None
    config: Any = _session.config
    given, _, options, _ = channel.receive()
    os.environ["PYTEST_XDIST_TESTRUNUID"] = given["testrunuid"]
    os.environ["PYTEST_XDIST_WORKER"] = given["workerid"]
    os.environ["PYTEST_XDIST_WORKER_COUNT"] = str(given["workercount"])
    remote.setup_config(config, options.get("basetemp"))
    config.workerinput, config.workeroutput = given, {}
    factory = config._tmp_path_factory
    factory._given_basetemp, factory._basetemp = Path(options["basetemp"]), None
    worker = remote.interactor = _Worker(config, channel)
    worker.pytest_sessionstart(_session)
    for event, details in _collected:
        getattr(worker, event)(**details)
    worker.pytest_collection_finish(_session)
    config.pluginmanager.getplugin("capturemanager").start_global_capturing()
    try:
        worker.pytest_runtestloop(_session)
    except pytest.exit.Exception as error:
        _session.shouldstop = str(error)
    finally:
        status = pytest.ExitCode.TESTS_FAILED if _session.testsfailed else pytest.ExitCode.OK
        config.hook.pytest_sessionfinish(session=_session, exitstatus=status)
        config._ensure_unconfigure()
