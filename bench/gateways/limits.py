"""The two ends of the scale: no gateway at all, and 40 lines of aiohttp."""

import sys
from importlib.metadata import version
from pathlib import Path

from ..processes import ROOT, Process, free_port
from ..workload import MODEL
from .base import MASTER_KEY, PROVIDER_KEY, START_SECONDS, Gateway, Running, bearer


class Direct(Gateway):
    name = "direct"
    title = "direct"
    features = "no gateway: the client calls the fake provider"

    def start(self, provider: str, directory: Path) -> Running:
        return Running(f"{provider}/chat/completions", MODEL, bearer(PROVIDER_KEY), None)


class Minimal(Gateway):
    name = "minimal"
    title = "40 lines of aiohttp"
    features = "swaps the key and forwards; nothing else"

    def install(self, cache: Path) -> str:
        return f"aiohttp {version('aiohttp')}"

    def start(self, provider: str, directory: Path) -> Running:
        port = free_port()
        script = str(ROOT / "bench" / "minimal_proxy.py")
        command = [sys.executable, script, str(port), f"{provider}/chat/completions", PROVIDER_KEY]
        process = Process(command, directory / "log")
        started = process.wait_for(f"http://127.0.0.1:{port}/health", START_SECONDS)
        return Running(f"http://127.0.0.1:{port}/v1/chat/completions", MODEL, bearer(MASTER_KEY), process, started)
