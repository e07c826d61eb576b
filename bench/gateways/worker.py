"""Our proxy behind its Worker: the unmodified Worker in workerd, the container a process of this machine."""

import json
import shutil
import sys
from pathlib import Path

from ..processes import Process
from ..workload import MODEL
from .base import MASTER_KEY, START_SECONDS, Gateway, Running, bearer
from .edge_launcher import READY
from .ours import version, write_config


class Worker(Gateway):
    name = "worker"
    title = "LiteLLM Router: Worker and proxy"
    features = "Worker (workerd, Pyodide), Durable Object, the proxy; a sidecar in Python is Cloudflare's network"

    def install(self, cache: Path) -> str:
        return version()

    def start(self, provider: str, directory: Path) -> Running:
        command = [sys.executable, "-m", "bench.gateways.edge_launcher", str(directory / "edge")]
        command.append(str(write_config(provider, directory)))
        shutil.rmtree(directory / "edge", ignore_errors=True)
        (directory / "edge").mkdir()
        process = Process(command, directory / "log", {"LITELLM_MASTER_KEY": MASTER_KEY})
        found, started = process.wait_for_line(READY, START_SECONDS)
        known = json.loads(found)
        parts = {"worker": known["worker"], "proxy": known["proxy"]}
        return Running(f"{known['url']}/v1/chat/completions", MODEL, bearer(MASTER_KEY), process, started, parts)
