"""`just first-minute`: README's first command in a clean clone with empty caches, its time and its disk space.

The exit code is 1 if the model does not answer, or if the disk space is not what the README says. Needs a network.
"""

import argparse
import http.client
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .process_engine.containers import free_port
from .progress import say

ROOT = Path(__file__).parents[1]
LONGEST_SECONDS = 1200
_SAID = re.compile(r"take about (\d+) MB\s+of disk space")
# What decides where packages come from; no cache, no token of this machine.
_KEPT = re.compile(
    r"LANG|SSL_CERT_\w+|NODE_EXTRA_CA_CERTS|(?:HTTPS?|NO)_PROXY|(?:UV|PIP)_\w*(?:INDEX|LINKS|CERT)\w*", re.I
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.first_minute", description=__doc__)
    parser.add_argument("--of", type=Path, default=ROOT, metavar="CHECKOUT", help="which checkout's last commit")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="first-minute-") as directory:
        seconds = first_answer(given.of, Path(directory))
        if seconds is None:
            return 1
        found = {name: disk_space(Path(directory) / name) for name in ("clone", "home")}
        # Files in the caches and their links in .venv count once.
        whole = disk_space(Path(directory))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    say(f"The first answer came after {seconds:.1f} s, with {cpu:.1f} s of processor time.")
    say(f"{whole} MB of disk space: {found} (links count twice there)")
    said = said_in(given.of)
    if said is None or not 0.9 * said <= whole <= said:
        say(f"README.md says about {said} MB.")
        return 1
    return 0


def said_in(checkout: Path) -> int | None:
    """The disk space that the README states, in MB."""
    found = _SAID.search((checkout / "README.md").read_text(encoding="utf-8"))
    return int(found[1]) if found else None


def first_answer(checkout: Path, directory: Path) -> float | None:
    """Seconds from `pip install uv` to the first answer; None if there was none."""
    clone, home = directory / "clone", directory / "home"
    subprocess.run([shutil.which("git") or "git", "clone", "--quiet", str(checkout), str(clone)], check=True)
    home.mkdir()
    # Instead of the machine's Python, whose pip counts for nothing.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home / "uv")], check=True)
    environment = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
    environment |= {"HOME": str(home), "PATH": os.pathsep.join([str(home / "uv" / "bin"), "/usr/bin", "/bin"])}
    port = free_port()
    started = time.monotonic()
    pip = [sys.executable, "-m", "pip", "--python", str(home / "uv" / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--disable-pip-version-check", "uv"], env=environment, check=True)
    command = ["uvx", "--from", "rust-just", "just", "dev", "--port", str(port)]
    process = subprocess.Popen(command, cwd=clone, env=environment, stdout=sys.stderr, start_new_session=True)
    try:
        while time.monotonic() < started + LONGEST_SECONDS and process.poll() is None:
            if answers(port):
                return time.monotonic() - started
            time.sleep(0.1)
        say("The model did not answer.")
        return None
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()


def answers(port: int) -> bool:
    """README's request: whether the mock answers it."""
    body = {"model": "mock", "messages": [{"role": "user", "content": "Hello"}]}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": "Bearer sk-1234"})
        return json.load(connection.getresponse()).get("object") == "chat.completion"
    except (http.client.HTTPException, OSError, ValueError):
        return False
    finally:
        connection.close()


def disk_space(directory: Path) -> int:
    """MB, as `du` counts them: each file once, however many links it has."""
    files = {(s.st_dev, s.st_ino): s.st_blocks for s in (p.lstat() for p in directory.rglob("*"))}
    return round(sum(files.values()) * 512 / 1024**2)


if __name__ == "__main__":
    sys.exit(main())
