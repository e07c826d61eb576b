"""Which tests start a process, and how xdist's workers share the tests.

A file runs on one worker, and the longest files run first. Files that share an engine or an edge of the session also
share a worker.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling
from xdist.workermanage import WorkerController

# Path prefixes. A long file at the end would leave the other workers idle.
LONGEST = (
    "tests/soak",
    "tests/engine",
    "tests/differential",
    "tests/edge/test_deploys",
    "tests/edge/test_container_life",
    "tests/edge",
    "tests/openapi",
    "tests/hostile",
    "tests/dev",
    "tests/bench",
    "tests/docs",
    "tests/accounting",
    "tests/reload",
    "tests/ledger",
    "tests/tracing",
    "tests/dashboard",
    "tests/deploy",
    "tests/sdk",
    "tests/seeds",
    "tests/responses",
)
# By file or folder.
TOGETHER = {
    "tests/engine/test_messages.py": "tests/engine",
    "tests/engine/test_translation.py": "tests/engine",
    "tests/engine/test_trouble.py": "tests/engine",
    "tests/identity/test_key_rotation.py": "tests/identity",
    "tests/identity/test_tokens.py": "tests/identity",
    "tests/sdk": "tests/sdk",
    "tests/seeds": "tests/seeds",
    "tests/hostile": "tests/hostile",
    # These import LiteLLM, which takes seconds and 300 MB.
    "tests/differential": "tests/differential",
    "tests/differential/fields": "tests/differential",
    "tests/container/formats/shared/test_tool_identifiers.py": "tests/differential",
    "tests/container/test_installed_litellm.py": "tests/differential",
}
# Files whose tests share nothing, so that each test may run on another worker.
APART = (
    "tests/bench/test_command",
    "tests/edge/test_container_life",
    "tests/engine/test_life",
    "tests/reload/",
    "tests/soak/",
)
# Fixtures, the values of parametrized ones, and names in a test's module.
_FIXTURES = {"proxy", "module_proxy", "session_proxy", "new_database", "durable_objects", "new_verifier"}
_FIXTURES |= {"start_edge", "start_module_edge", "start_session_edge", "shared_edge"}
_STORES = ("postgres", "PostgreSQL, two pools", "durable object")
_NAMES = ("subprocess", "RunningProxy", "OfflineEdge")


def starts_a_process(item: pytest.Item) -> bool:
    """Whether the test runs more than the modules that it imports."""
    given = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return (
        not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
        or any(isinstance(value, str) and value in _STORES for value in given)
        or any(hasattr(getattr(item, "module", None), name) for name in _NAMES)
    )


def longest_first(items: list[pytest.Item]) -> None:
    """Sorts in place and keeps the order within a file."""
    items.sort(key=lambda item: _rank(item.nodeid))


def _rank(nodeid: str) -> int:
    return next((rank for rank, prefix in enumerate(LONGEST) if nodeid.startswith(prefix)), len(LONGEST))


class ByFile(LoadScopeScheduling):
    """Keeps the order of collection, and forgets tests that are done. The base class would run the files with the most
    tests first, count all tests of a worker after each of them, and run a test that ends its worker again and again."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        self._forget(self.assigned_work[node], self.registered_collections[node][item_index])
        self._reschedule(node)

    def remove_node(self, node: WorkerController) -> str | None:
        work = self.assigned_work[node]
        ended_by = next((nodeid for unit in work.values() for nodeid in unit), None)
        if ended_by is not None:
            self._forget(work, ended_by)
        super().remove_node(node)
        return ended_by

    def _forget(self, work: dict[str, dict[str, bool]], nodeid: str) -> None:
        scope = self._split_scope(nodeid)
        del work[scope][nodeid]
        if not work[scope]:
            del work[scope]

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(APART):
            return nodeid
        path = nodeid.partition("::")[0]
        return TOGETHER.get(path) or TOGETHER.get(path.rpartition("/")[0], path)


def skips(reasons: Iterable[str]) -> str:
    """One line with the number of skipped tests by reason."""
    counted = Counter(reason.removeprefix("Skipped: ") for reason in reasons)
    return "; ".join(f"{count} × {reason}" for reason, count in counted.most_common()) or "nothing"
