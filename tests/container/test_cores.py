"""The number of cores that a process may use."""

import os
from pathlib import Path

import pytest

from container.proxy.process import cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def files(root: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = root / name.replace("__", "/").replace("cpu_max", "cpu.max").replace("cfs", "cpu.cfs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("max 100000", 8),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("400000 100000", 4),
        ("2000000 100000", 8),
        ("nonsense", 8),
        ("100000 0", 8),
    ],
)
def test_a_limit_of_version_2(tmp_path: Path, limit: str, expected: int) -> None:
    files(tmp_path, cpu_max=limit)
    assert cores(tmp_path, tmp_path / "none") == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("300000", 3)])
def test_a_limit_of_version_1(tmp_path: Path, quota: str, expected: int) -> None:
    files(tmp_path, cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000")
    assert cores(tmp_path, tmp_path / "none") == expected


def test_the_limits_of_all_groups_around_it_apply(tmp_path: Path) -> None:
    files(tmp_path, a__cpu_max="200000 100000", a__b__cpu_max="max 100000", a__b__c__cpu_max="700000 100000")
    own = tmp_path / "own"
    own.write_text("0::/a/b/c\n")
    assert cores(tmp_path, own) == 2


def test_without_control_groups_there_is_the_affinity(tmp_path: Path) -> None:
    assert cores(tmp_path / "none", tmp_path / "none") == 8
