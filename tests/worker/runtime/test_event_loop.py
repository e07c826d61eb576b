"""The event loop of `runtime.event_loop`, in workerd."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev.edge import OfflineEdge
from tests.edge.conftest import V8_FLAGS

WORKER = Path(__file__).parents[3] / "worker"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    sources = {
        f"edge/runtime/{path.name}": path.read_text("utf-8") for path in (WORKER / "edge" / "runtime").glob("*.py")
    }
    wrangler_path = Path(__file__).parent / "event_loop" / "wrangler.jsonc"
    edge = OfflineEdge(
        tmp_path_factory.mktemp("loop"), {}, None, wrangler_path=wrangler_path, replaced=sources, v8_flags=V8_FLAGS
    )
    assert edge.start("/") == 200
    yield edge.url
    edge.stop()


@pytest.mark.parametrize(
    ("way", "happened"),
    [
        ("order", [0, 1, 2, "slept"]),
        ("nested", ["outer", "inner"]),
        ("cancelled", ["called"]),
        ("broken", ["on purpose", "after it"]),
        ("ended", ["after it"]),
        ("before_timers", [0, 1, 2, "timer"]),
        ("late", ["late"]),
        ("tasks", [0, 1, 2, [0, 1, 2], "timeout"]),
        ("from_javascript", ["at once", "called", "made", "later"]),
        ("futures", [True, True]),
        ("before_a_call", ["before", "microtask"]),
    ],
)
def test_callbacks_run_in_order(url: str, way: str, happened: list[Any]) -> None:
    for _ in range(2):  # whatever happened, the next request is served
        assert httpx.get(f"{url}/{way}", timeout=30).json() == happened
