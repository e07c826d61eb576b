"""Workers that are forks report what xdist's own would."""

import re
import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT

WORSE = """
import os
import pytest

def test_passes(tmp_path):
    assert os.environ["PYTEST_XDIST_WORKER"] in str(tmp_path)

def test_fails():
    print("what was printed")
    assert "this" == "that"

def test_is_skipped():
    pytest.skip("no reason")

@pytest.fixture
def broken():
    yield
    raise RuntimeError("when torn down")

def test_has_a_fixture_that_fails(broken):
    pass

def test_ends_its_worker():
    os._exit(3)

def test_runs_after_all():
    pass
"""


def test_every_outcome_is_reported_once(tmp_path: Path):
    files = {"worse.py": WORSE, "fine.py": "def test_passes(): pass", "wrong.py": "import nothing_of_that_name"}
    for name, source in files.items():
        (tmp_path / f"test_{name}").write_text(source)
    words = ["-ra", "-n", "2", "-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1, done.stdout + done.stderr
    reported = re.findall(r"^(FAILED|ERROR|SKIPPED) .*?(test_\w+.py(?:::\w+)?)", done.stdout, re.MULTILINE)
    assert sorted(reported) == [
        ("ERROR", "test_worse.py::test_has_a_fixture_that_fails"),
        ("ERROR", "test_wrong.py"),
        ("FAILED", "test_worse.py::test_ends_its_worker"),
        ("FAILED", "test_worse.py::test_fails"),
        ("SKIPPED", "test_worse.py"),
    ]
    assert "2 failed, 4 passed, 1 skipped, 2 errors" in done.stdout
    for printed in ("what was printed", "nothing_of_that_name", "when torn down"):
        assert printed in done.stdout
