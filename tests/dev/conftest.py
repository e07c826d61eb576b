"""Fixtures: the probe Worker, served by the offline edge."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from dev.edge import OfflineEdge
from dev.process_engine.containers import Image
from tests.edge.conftest import V8_FLAGS

PROBE = Path(__file__).parent / "probe"
APP = Image((sys.executable, str(PROBE / "app.py")), port=8080)

Found = TypeVar("Found")


class Probe:
    def __init__(self, directory: Path) -> None:
        self.lines: list[str] = []
        self.edge = OfflineEdge(
            directory,
            {},
            {"Runner": APP},
            wrangler_path=PROBE / "wrangler.jsonc",
            log=self.lines.append,
            v8_flags=V8_FLAGS,
        )
        assert self.edge.start("/hello") == 200
        self.client = httpx.Client(base_url=self.edge.url, timeout=20)

    def get(self, path: str, **query: str) -> httpx.Response:
        return self.client.get(path, params=query)

    def wait_for_line(self, text: str) -> str:
        return wait_for(lambda: next((line for line in self.lines if text in line), None), text)

    def close(self) -> None:
        self.client.close()
        self.edge.stop()


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    probe = Probe(tmp_path_factory.mktemp("probe"))
    yield probe
    probe.close()


def wait_for(condition: Callable[[], Found | None], what: str, timeout: float = 10) -> Found:
    """Returns the first true value of `condition`."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"no sign of {what} within {timeout:g} s"
        time.sleep(0.02)
    return found
