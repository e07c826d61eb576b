"""Starts the fakes and the engine, sends requests, and reports."""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.image.probe.others import WORD, OtherProviders
from tests.image.probe.requests import KEY, answers, deployments

START_LIMIT = 240.0  # seconds; a start without bytecode on a quarter of a core takes two minutes
LOG_TAIL = 4000  # characters of the engine's log that are reported after a failure


def main() -> int:
    others = OtherProviders.start()
    with FakeProvider() as fake, tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        fake.always(Behaviour(text=WORD))
        config = Path(folder) / "engine.json"
        config.write_text(json.dumps(configuration(deployments(fake.url, others))))
        port = free_port()
        command = ["litellm", "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        environment = {
            **os.environ,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "HTTPS_PROXY": others,
            "AIOHTTP_TRUST_ENV": "True",
        }
        engine = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        report: dict[str, Any] = {}
        try:
            report["start_seconds"] = round(wait_until_ready(engine, port), 1)
            report["memory_mb_at_start"] = memory_mb(engine.pid)
            report["answers"] = dict(answers(f"http://127.0.0.1:{port}"))
            report["memory_mb"] = memory_mb(engine.pid)
            report["bedrock_signature"] = OtherProviders.authorizations.get("bedrock", "").partition(" ")[0]
        except RuntimeError as error:
            report["failed"] = str(error)
        finally:
            engine.terminate()
            engine.wait(30)
        report["called_home"] = sorted(OtherProviders.called_home)
        good = set(report.get("answers", {}).values()) == {"ok"}
        if not good:
            log.seek(0)
            report["log"] = log.read()[-LOG_TAIL:]
    print(json.dumps(report))
    return 0 if good else 1


def configuration(models: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The engine's configuration. JSON is valid YAML."""
    return {
        "model_list": [{"model_name": name, "litellm_params": params} for name, params in models.items()],
        "litellm_settings": {"num_retries": 0, "telemetry": False, "ssl_verify": False},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "general_settings": {"master_key": KEY},
    }


def wait_until_ready(engine: subprocess.Popen, port: int) -> float:
    """Seconds until the engine reports ready. Raises RuntimeError if it exits or takes too long."""
    began = time.monotonic()
    while time.monotonic() - began < START_LIMIT:
        if engine.poll() is not None:
            raise RuntimeError(f"the engine ended with exit code {engine.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/readiness", timeout=5):
                return time.monotonic() - began
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"the engine was not ready within {START_LIMIT} s")


def memory_mb(pid: int) -> int:
    """Resident memory in MiB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) // 1024 if found else 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
