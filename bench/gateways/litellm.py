"""LiteLLM's own proxy, one worker, from this project's locked requirements."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..processes import ROOT, Process, base_environment, free_port
from ..workload import MODEL
from .base import MASTER_KEY, START_SECONDS, Gateway, Running, Unavailable, bearer
from .ours import write_config


class LiteLLM(Gateway):
    name = "litellm"
    title = "LiteLLM proxy"
    features = "the same configuration and master key as ours"

    def install(self, cache: Path) -> str:
        try:
            found = version("litellm")
        except PackageNotFoundError:
            raise Unavailable("litellm is not installed in this environment") from None
        # Its start is timed with its bytecode compiled, as an image would have it.
        command = [sys.executable, "-c", "import litellm.proxy.proxy_cli, litellm.proxy.proxy_server"]
        environment = {**base_environment(), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=START_SECONDS, check=False)
        return found

    def start(self, provider: str, directory: Path) -> Running:
        port = free_port()
        # The environment's own command, but without its shebang line's detour over `env`.
        command = [sys.executable, str(Path(sys.executable).with_name("litellm"))]
        command += ["--config", str(write_config(provider, directory)), "--host", "127.0.0.1", "--port", str(port)]
        # Its price map comes from the package: it makes no calls home. The admin page is of no use here.
        environment = {
            "LITELLM_MASTER_KEY": MASTER_KEY,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_TELEMETRY": "False",
            "DISABLE_ADMIN_UI": "True",
        }
        process = Process(command, directory / "log", environment)
        started = process.wait_for(f"http://127.0.0.1:{port}/health/liveliness", START_SECONDS)
        return Running(f"http://127.0.0.1:{port}/v1/chat/completions", MODEL, bearer(MASTER_KEY), process, started)
