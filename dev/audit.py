"""`just audit`: checks the locked packages against the advisory databases.

The exit code is 1 if there is an advisory. A database that cannot be reached is reported but is not an error."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TIMEOUT = 90


class Unreachable(Exception):
    """The advisory database cannot be reached."""


def python() -> list[str]:
    """`package version: advisory` for requirements/container.txt. Raises Unreachable."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(ROOT / "requirements" / "container.txt")]
    command += ["--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    found = _answer(command)
    return [
        f"{package['name']} {package['version']}: {one['id']}"
        for package in found["dependencies"]
        for one in package.get("vulns", ())
    ]


def npm() -> list[str]:
    """The same for package-lock.json."""
    command = [shutil.which("npm") or str(Path(sys.executable).parent / "npm"), "audit", "--json"]
    found = _answer(command)
    if "vulnerabilities" not in found:
        raise Unreachable(str(found)[:300])
    return [f"{name}: {one['severity']}" for name, one in found["vulnerabilities"].items()]


def main() -> int:
    known = []
    for what, ask in (("Python packages of the proxy", python), ("npm packages of the tools", npm)):
        try:
            found = ask()
        except Unreachable as error:
            print(f"{what}: not audited, the database cannot be asked from here ({error})")
            continue
        print(f"{what}: {', '.join(found) or 'nothing is known against them'}")
        known += found
    return 1 if known else 0


def _answer(command: list[str]) -> dict:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, env={**os.environ, "PATH": path}
        )
        return json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise Unreachable(f"no answer within {TIMEOUT} s") from None
    except json.JSONDecodeError:
        raise Unreachable(done.stderr.strip()[-300:]) from None


if __name__ == "__main__":
    sys.exit(main())
