"""asyncio on microtasks, in the real workerd: what `runtime.loop` must keep, and what it is for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev.edge import OfflineEdge

WORKER = Path(__file__).parents[2] / "worker"


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    sources = {path.relative_to(WORKER).as_posix(): path.read_text() for path in (WORKER / "runtime").glob("*.py")}
    sources = {name: text for name, text in sources.items() if not name.endswith("sql.py")}  # which needs the ledger
    directory = tmp_path_factory.mktemp("loop")
    edge = OfflineEdge(
        directory, {}, None, wrangler_path=Path(__file__).parent / "loop/wrangler.jsonc", replaced=sources
    )
    try:
        assert edge.start("/") == 200
        yield lambda name: httpx.get(f"{edge.url}/{name}", timeout=30).json()
    finally:
        edge.stop()


def test_callbacks_run_in_their_order_and_cancelled_ones_do_not(loop: Any) -> None:
    assert loop("order") == ["first", "task", "last", "after a promise"]


def test_a_callback_that_raises_does_not_stop_the_next(loop: Any) -> None:
    assert loop("failure") == ["next"]


def test_time_limits_still_count_real_time(loop: Any) -> None:
    assert loop("waiting") == ["done", "over"]


def test_no_timer_is_set_to_await_a_promise(loop: Any) -> None:
    assert loop("timers") == 0
