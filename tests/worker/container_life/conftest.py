"""Real but short times."""

import pytest

from worker.edge.container_life import lifecycle, readiness


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "PAUSE_AFTER_FAILURE", 0.1)
    monkeypatch.setattr(lifecycle, "SILENCE_LIMIT", 0.2)
    monkeypatch.setattr(lifecycle, "RETIRE_SLACK", 0.1)
    monkeypatch.setattr(readiness, "FIRST_WAIT", 0.01)
