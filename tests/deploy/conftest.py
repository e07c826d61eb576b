"""Fixtures: a project folder with a fake wrangler."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from dev import deploy
from dev.image_contents import image_hash
from dev.wrangler_command import Wrangler
from tests.processes import ROOT

FAKE = Path(__file__).with_name("fake_wrangler.py")


class Project:
    """A copy of the files that `just deploy` reads, and the fake wrangler that it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self._fake = folder / "fake"
        self._fake.mkdir()
        self.folder.mkdir()
        for name in ("wrangler.jsonc", "litellm_config.yaml"):
            shutil.copy(ROOT / name, self.folder)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "worker", self.folder / "worker", ignore=ignored)
        self.answers({})

    @property
    def tool(self) -> Wrangler:
        return Wrangler([sys.executable, str(FAKE), str(self._fake)], {"PATH": "/usr/bin:/bin"}, self.folder)

    def answers(self, answers: dict[str, tuple[int, str, str]]) -> None:
        """Answers by the first words of a command. `secret list` is empty by default."""
        (self._fake / "answers.json").write_text(json.dumps({"secret list": (0, "[]", ""), **answers}))

    def secrets(self, *names: str) -> None:
        listed = json.dumps([{"name": name, "type": "secret_text"} for name in names])
        self.answers({"secret list": (0, listed, "")})

    def set_vars(self, **vars_: str) -> None:
        path = self.folder / "wrangler.jsonc"
        text = path.read_text()
        assert '"vars": {' in text
        lines = "".join(f"{json.dumps(name)}: {json.dumps(value)}," for name, value in vars_.items())
        path.write_text(text.replace('"vars": {', f'"vars": {{ {lines}'))

    def deploy(self, *arguments: str, **environment: str) -> int:
        """Runs `just deploy` without Docker and returns the exit code."""
        return deploy.main(arguments, environment, self.tool, docker=False)

    @property
    def whole(self) -> str:
        """The command that deploys the Worker and its image."""
        return f"deploy --tag image-{image_hash(self.folder, '')}"

    @property
    def calls(self) -> list[dict[str, Any]]:
        path = self._fake / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def commands(self) -> list[str]:
        """The wrangler commands that ran, without the bundle's folder."""
        return [" ".join(call["arguments"]).partition(" --outdir")[0] for call in self.calls]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
