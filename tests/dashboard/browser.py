"""Chromium for the tests: the machine's own, driven by Playwright. Nothing is fetched here but by `--install`.

python -m tests.dashboard.browser --install      # Debian's package, where there is none and we are root
"""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "There is no Chromium on this machine: install your system's package (Debian: apt-get install chromium), or name "
    "one in the variable CHROMIUM."
)


def find() -> str | None:
    """The path of a Chromium."""
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


def install() -> int:
    """The exit code."""
    if find() is not None:
        return 0
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(MISSING, file=sys.stderr)
        return 1
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    packages = ["chromium", "fonts-dejavu-core"]
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", "--quiet", *command], env=quiet, check=False, stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            print(f"apt-get {command[0]} failed. {MISSING}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1:] != ["--install"]:
        sys.exit(__doc__)
    sys.exit(install())
