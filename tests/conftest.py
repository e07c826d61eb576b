"""Fixtures for all tests: fake providers and the proxy as a process."""

import gc
import os
import signal
import sys

# Without bytecode, hundreds of processes would each compile their imports. This must run before all other imports.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Collecting 14,000 tests makes millions of objects and next to no garbage.
gc.disable()

import functools
import importlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests import canaries_of_answers, forked, forked_workers, order
from tests.processes import ROOT, StartProxy, free_tcp_port, proxy_starter
from tests.thorough import examples

if TYPE_CHECKING:  # the fakes import OpenAI's and Anthropic's SDKs, which the process that only starts workers spares
    from tests.fakes.server import FakeProvider
    from tests.ledger.postgres_server import NewDatabase

# A shell ignores it for what it starts in the background, and all processes of the tests would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Each client, and so each SDK's, would load all certificates: 24 ms of CPU thousands of times.
for _name in ("httpx", "httpx2"):  # the SDKs use the second one
    _transport: Any = importlib.import_module(f"{_name}._transports.default")
    _transport.create_ssl_context = functools.cache(_transport.create_ssl_context)

# The Worker imports its packages from `worker/`, so tests that import `worker.edge` need them there, too.
sys.path.append(str(ROOT / "worker"))

# No deadline for an example, because the machine may be busy. CI uses the same examples in every run, so that a failure
# there comes from the change.
settings.register_profile("here", deadline=None, max_examples=examples(100, 40))
settings.register_profile("ci", parent=settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> order.ByFile:
    return order.ByFile(config, log)


def pytest_xdist_getremotemodule() -> str:
    return forked_workers.REMOTE


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    if forked_workers.collects():  # with the options of the process that starts workers
        config.option.numprocesses, config.option.dist, config.option.tx = 0, "no", []


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None):  # the process that starts xdist's workers
        stack = ExitStack()
        whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
        stack.enter_context(forked.shared_engines(at_once=whole))
        stack.enter_context(forked_workers.collected(config))
        config.add_cleanup(stack.close)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if forked_workers.collects() and not report.passed:
        forked_workers.record("pytest_collectreport", report=report)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    if forked_workers.collects():
        forked_workers.serve(session)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)  # before `-m` selects from them
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if order.starts_a_process(item):
            item.add_marker(pytest.mark.process)
    if forked_workers.collects():
        order.longest_first(items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [str(report.longrepr[2]) for report in terminalreporter.getreports("skipped")]
    terminalreporter.write_line(f"skipped: {order.skips(reasons)}")


@pytest.fixture(scope="session", autouse=True)
def _watched_answers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        canaries_of_answers.watch(patch.setattr)
        yield


@pytest.fixture(autouse=True)
def _no_secret_in_answers() -> Iterator[None]:
    """Also covers responses that arrived since the last test."""
    yield
    found, canaries_of_answers.found[:] = list(canaries_of_answers.found), []
    assert not found, found


@pytest.fixture
def fake() -> Iterator["FakeProvider"]:
    """A fake provider for this test only."""
    from tests.fakes.server import FakeProvider

    with FakeProvider() as provider:
        yield provider


@pytest.fixture
def second_fake() -> Iterator["FakeProvider"]:
    """A second one, to fail over to."""
    from tests.fakes.server import FakeProvider

    with FakeProvider() as provider:
        yield provider


@pytest.fixture(scope="session")
def providers() -> Iterator["FakeProvider"]:
    """The fake behind gateways that serve many tests."""
    from tests.fakes.server import FakeProvider

    with FakeProvider() as one:
        yield one


@pytest.fixture
def provider(providers: "FakeProvider") -> Iterator["FakeProvider"]:
    """The same fake, with its records cleared."""
    providers.reset()
    yield providers
    providers.reset()


@pytest.fixture(scope="session")
def new_database() -> Iterator["NewDatabase"]:
    """`new_database()` returns the URL of an empty PostgreSQL schema. One server for all tests of the worker."""
    from tests.ledger.postgres_server import databases

    with databases() as new:
        yield new


@pytest.fixture
def free_port() -> int:
    return free_tcp_port()


@pytest.fixture
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartProxy]:
    """`proxy(config, **options)` starts `python -m container serve`; see `tests.processes.RunningProxy`.

    After the test each proxy gets SIGTERM and must exit with 0. `FRESH_PROXIES = True` in a module sets `fresh` for all
    of them.
    """
    with ExitStack() as stack:
        yield proxy_starter(stack, tmp_path, fresh=getattr(request.module, "FRESH_PROXIES", False))


@pytest.fixture(scope="module")
def module_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProxy]:
    """`proxy` for fixtures whose proxy serves a whole module, because it starts the engine."""
    with ExitStack() as stack:
        yield proxy_starter(stack, tmp_path_factory.mktemp("proxies"))


@pytest.fixture(scope="session")
def session_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProxy]:
    """The same for the whole session."""
    with ExitStack() as stack:
        yield proxy_starter(stack, tmp_path_factory.mktemp("proxies"))
