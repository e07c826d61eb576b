"""Runs `wrangler dev` with the same Worker and variables and with Docker, on machines with a network."""

import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from . import bundle, child
from .offline.tools import MissingTool
from .progress import step
from .runtime_choice import CannotRun, docker_problem
from .wrangler_command import Wrangler

_START_SECONDS = 600  # it builds the image first


def run(host: str, port: int, url: str, vars: Mapping[str, str], example: str) -> int:
    """Serves until it is told to end. `vars`: the Worker's; `example`: a request to show. Raises CannotRun."""
    problem = docker_problem()
    if problem:
        raise CannotRun(f"wrangler dev needs Docker, and {problem}; start it or use --runtime offline.")
    try:
        tool = Wrangler.installed()
        bundle.vendor(tool.directory / bundle.VENDORED)
    except MissingTool as error:
        raise CannotRun(str(error)) from None
    with tempfile.TemporaryDirectory(prefix="wrangler-") as scratch:
        variables = Path(scratch) / "vars.env"
        variables.touch(mode=0o600)  # it holds the secrets
        variables.write_text(dotenv(vars), encoding="utf-8")
        command = [*tool.command, "dev", "--ip", host, "--port", str(port)]
        command += ["--env-file", str(variables), "--show-interactive-dev-session=false"]
        process = subprocess.Popen(
            command,
            cwd=tool.directory,
            env=tool.environment,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            start_new_session=True,
            preexec_fn=child.tied_to_parent(child.END),
        )
        try:
            with step("Starting wrangler dev (the first time it builds the image)"):
                _wait_until_ready(process, url)
            print(f"Listening on {url} - try: {example}", flush=True)
            try:
                code = process.wait()
            except KeyboardInterrupt:
                return 0  # told to end, as servers are
            raise CannotRun(f"wrangler dev ended by itself with exit code {code}; its output is above.")
        finally:
            child.end_group(process)


def dotenv(variables: Mapping[str, str]) -> str:
    """Quotes values for wrangler's reader and escapes every `$` that it would expand."""
    return "".join(f"{name}={_quoted(value)}\n" for name, value in variables.items())


def _quoted(value: str) -> str:
    escaped = value.replace("$", "\\$")
    for quote in "'`":
        if quote not in escaped:
            return quote + escaped + quote
    return '"' + escaped.replace("\n", "\\n") + '"'


def _wait_until_ready(process: subprocess.Popen, url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise CannotRun(
                f"wrangler dev ended with exit code {process.returncode}, see above; --runtime offline does without it."
            )
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310 - our own address
                return
        except urllib.error.HTTPError as error:
            raise CannotRun(f"The Worker answers GET {url}/health with {error.code}.") from None
        except OSError:
            time.sleep(0.2)
    raise CannotRun(f"wrangler dev did not answer within {_START_SECONDS} s; its output is above.")
