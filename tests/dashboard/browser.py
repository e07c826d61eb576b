"""Chromium for the tests, driven by Playwright: the installed one, or one from an npm package.

python -m tests.dashboard.browser --install      # the package's, where the machine has none

The package and its version are in chromium/package.json here. It includes the shared libraries and a font, so it needs
only a C library (x64 Linux).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKAGE = Path(__file__).parent / "chromium"
UNPACKED = ROOT / ".dev" / "chromium"
COMMAND = UNPACKED / "run"
MISSING = (
    "There is no Chromium on this machine: run `just browser`, install your system's package (Debian: apt-get install "
    "chromium), or name one in the variable CHROMIUM."
)
# The package unpacks into Node's temporary directory, which TMPDIR sets.
_UNPACK = """
import { join } from "node:path";
import { inflate } from "@sparticuz/chromium";
const bin = join(process.cwd(), "node_modules/@sparticuz/chromium/bin");
const archives = ["chromium.br", "fonts.tar.br", "al2023.tar.br", "swiftshader.tar.br"];
await Promise.all(archives.map((name) => inflate(join(bin, name))));
"""
_COMMAND = """#!/bin/sh
here=$(dirname "$0")
LC_ALL=en_US.UTF-8 LANGUAGE=en_US LD_LIBRARY_PATH="$here/al2023/lib:$here" FONTCONFIG_PATH="$here/fonts" \
  exec "$here/chromium" --lang=en-US "$@"
"""


def find() -> str | None:
    """The path of a Chromium."""
    named = os.environ.get("CHROMIUM")
    unpacked = str(COMMAND) if COMMAND.exists() else None
    return named or next(filter(None, map(shutil.which, NAMES)), unpacked)


def install() -> int:
    """Installs the package's Chromium and returns the exit code."""
    if find() is not None:
        return 0
    tools = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(UNPACKED)}
    shutil.rmtree(UNPACKED, ignore_errors=True)
    UNPACKED.mkdir(parents=True)
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    COMMAND.write_text(_COMMAND)
    COMMAND.chmod(0o755)
    for command in (
        [tools / "npm", "ci", *quiet],
        [tools / "node", "--input-type=module", "--eval", _UNPACK],
        [COMMAND, "--version"],
    ):
        done = subprocess.run([str(word) for word in command], cwd=PACKAGE, env=environment, check=False)
        if done.returncode != 0:
            COMMAND.unlink()
            print(f"{command[0].name} failed. {MISSING}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1:] != ["--install"]:
        sys.exit(__doc__)
    sys.exit(install())
