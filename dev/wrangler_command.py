"""The project's own wrangler from npm, on the project's own Node."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .offline.tools import NODE_MODULES, REPOSITORY, MissingTool

MINIMUM_NODE = (22, 12)
WITHHELD = ("LITELLM_MASTER_KEY",)
"""What of our environment it has no need to see."""


@dataclass(frozen=True)
class Wrangler:
    """`command` is what comes before wrangler's own arguments; everything runs in `directory`."""

    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path = REPOSITORY

    @classmethod
    def installed(cls, environment: Mapping[str, str] = os.environ) -> "Wrangler":
        """Raises MissingTool."""
        script = NODE_MODULES / "wrangler" / "bin" / "wrangler.js"
        if not script.is_file():
            raise MissingTool("The npm package wrangler is not installed; run `just setup`.")
        path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
        node = shutil.which("node", path=path)
        if node is None:
            raise MissingTool("Node is not installed; run `just setup`.")
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
        if not node_is_new_enough(version):
            wanted = ".".join(map(str, MINIMUM_NODE))
            raise MissingTool(f"wrangler needs Node {wanted} or newer and {node} is {version}; run `just setup`.")
        kept = {name: value for name, value in environment.items() if name not in WITHHELD}
        return cls([node, str(script)], {**kept, "PATH": path, "WRANGLER_SEND_METRICS": "false"})

    def capture(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs the command to completion; captures its output as plain text."""
        quiet = {**self.environment, "NO_COLOR": "1", "FORCE_COLOR": "0", "WRANGLER_HIDE_BANNER": "true"}
        return subprocess.run(
            [*self.command, *arguments],
            cwd=self.directory,
            env=quiet,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    def show(self, *arguments: str) -> int:
        """Runs the command without prompts, with its output on the terminal; returns the exit code."""
        return subprocess.run(
            [*self.command, *arguments], cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL, check=False
        ).returncode


def node_is_new_enough(version: str) -> bool:
    """`version` as node prints it: "v22.12.0"."""
    match = re.match(r"v(\d+)\.(\d+)\.", version)
    return match is not None and (int(match[1]), int(match[2])) >= MINIMUM_NODE
