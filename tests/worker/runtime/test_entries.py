"""Entry points made by `runtime.entries`, in workerd, and the workerd wrapper that they replace."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dev.edge import OfflineEdge
from dev.offline import tools
from tests.edge.conftest import V8_FLAGS

WORKER = Path(__file__).parents[3] / "worker"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    sources = {
        f"edge/runtime/{path.name}": path.read_text("utf-8") for path in (WORKER / "edge" / "runtime").glob("*.py")
    }
    wrangler_path = Path(__file__).parent / "entries" / "wrangler.jsonc"
    edge = OfflineEdge(
        tmp_path_factory.mktemp("entries"), {}, None, wrangler_path=wrangler_path, replaced=sources, v8_flags=V8_FLAGS
    )
    assert edge.start("/") == 200
    yield edge.url
    edge.stop()


def get(url: str) -> object:
    return httpx.get(url, timeout=30).json()


def test_fetch_gets_the_javascript_request(url: str) -> None:
    assert get(f"{url}/called") == ["JsProxy", {}]


def test_one_instance_answers_all_requests(url: str) -> None:
    assert get(f"{url}/instance") == get(f"{url}/instance")


def test_an_object_keeps_its_state_and_converts_values_that_are_not_text(url: str) -> None:
    calls = [get(f"{url}/object") for _ in range(2)]
    assert calls == [[["JsProxy", number], "a str", 1] for number in (1, 2)]


def test_no_timer_is_set_for_a_request(url: str) -> None:
    get(f"{url}/timers")
    for _ in range(3):
        assert get(f"{url}/called")
    assert get(f"{url}/timers") == 0


@pytest.fixture(scope="module")
def workerd() -> bytes:
    return tools.workerd_binary().read_bytes()


def test_workerds_wrapper_takes_its_converters_from_the_sdk(workerd: bytes) -> None:
    """Reads the wrapper's Python source in the binary, from its imports to the end of `wrapper_func`."""
    found = re.search(
        rb"import signal\nimport sys\n[\x09\x0a\x20-\x7e]*?async def wrapper_func[\x09\x0a\x20-\x7e]*", workerd
    )
    assert found is not None
    module = ast.parse(found[0])
    imported = {
        alias.name for n in module.body if isinstance(n, ast.ImportFrom) and n.module == "workers" for alias in n.names
    }
    assert {"python_from_rpc", "python_to_rpc"} <= imported
    (wrapper,) = (n for n in module.body if isinstance(n, ast.AsyncFunctionDef) and n.name == "wrapper_func")
    called = {n.func.id for n in ast.walk(wrapper) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    assert {"python_from_rpc", "python_to_rpc", "relaxed_call"} <= called


def test_workerd_imports_its_wrapper_after_the_main_module(workerd: bytes) -> None:
    start = workerd[workerd.index(b"export async function initPython()") :][:4096]
    assert 0 < start.index(b"await getMainModule()") < start.index(b"getIntrospectionMod()")
