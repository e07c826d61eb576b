"""Older versions of this project, from git."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.processes import ROOT


def checkout(commit: str, directory: Path, *paths: str) -> Path:
    """Writes these paths as they were at a commit. Skips the test in a clone that lacks it."""
    command = ["git", "-C", str(ROOT), "archive", commit, *paths]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this clone lacks the commit {commit[:7]}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return directory
