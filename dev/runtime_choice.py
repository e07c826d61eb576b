"""Chooses the runtime of `litellm-router dev`: `wrangler dev` with Docker and Cloudflare, else offline."""

import os
import shutil
import socket
import subprocess
import threading
from typing import NamedTuple

from .offline import tools

TIMEOUT_SECONDS = 2.0
# Where workerd fetches Pyodide when `wrangler dev` runs a Python Worker.
CLOUDFLARE_HOST = "pyodide-capnp-bin.edgeworker.net"


class CannotRun(Exception):
    """The problem and its fix, in one sentence."""


class Choice(NamedTuple):
    """`name`: "wrangler" or "offline"; `why` completes the sentence "…, because …"."""

    name: str
    why: str


def choose(asked: str, *, in_image: bool = True) -> Choice:
    """`asked`: "auto", "offline" or "wrangler"; `in_image`: the config is the one that Docker's image is built with."""
    if asked != "auto":
        return Choice(asked, f"you asked for it with --runtime {asked}")
    if not in_image:
        return Choice("offline", "the image of `wrangler dev` holds litellm_config.yaml, and you named another config")
    problem = docker_problem()
    if problem:
        return Choice("offline", problem)
    if not (tools.NODE_MODULES / "wrangler").is_dir():
        return Choice("offline", "wrangler is not installed (`just setup` does it)")
    if not reachable(CLOUDFLARE_HOST):
        return Choice("offline", f"a Docker engine answers, but Cloudflare ({CLOUDFLARE_HOST}) cannot be reached")
    return Choice("wrangler", "a Docker engine answers and Cloudflare can be reached")


def docker_problem() -> str | None:
    """The reason why no Docker engine is usable, or None."""
    command = os.environ.get("WRANGLER_DOCKER_BIN") or "docker"
    if shutil.which(command) is None:
        return "there is no Docker here"
    try:
        subprocess.run(
            [command, "ps", "--quiet"],
            check=True,
            timeout=TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return f"the Docker engine does not answer within {TIMEOUT_SECONDS:g} s"
    except (subprocess.CalledProcessError, OSError):
        return "no Docker engine answers"
    return None


def reachable(host: str, port: int = 443) -> bool:
    """Whether a connection succeeds in time. It runs in a thread because name lookups have no timeout."""
    connected = threading.Event()

    def connect() -> None:
        try:
            with socket.create_connection((host, port), TIMEOUT_SECONDS):
                connected.set()
        except OSError:
            return

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(TIMEOUT_SECONDS)
    return connected.is_set()
