"""Fixtures: a proxy whose configuration changes while it serves."""

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import httpx
import orjson
import yaml

from tests.processes import MASTER_KEY, RunningProxy

HELLO = [{"role": "user", "content": "Hello there"}]
AUTHORIZED = {"authorization": f"Bearer {MASTER_KEY}"}


def ask(proxy: RunningProxy, model: str, key: str = MASTER_KEY, **fields: Any) -> httpx.Response:
    request = {"model": model, "messages": HELLO, **fields}
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{proxy.url}/v1/chat/completions", json=request, headers=headers, timeout=60)


def events(proxy: RunningProxy, name: str) -> list[dict[str, Any]]:
    """Log lines with this event."""
    lines = (line for line in proxy.log().splitlines() if line.startswith("{"))
    return [found for line in lines if (found := orjson.loads(line))["event"] == name]


def write(proxy: RunningProxy, config: Mapping[str, Any] | str) -> None:
    """Replaces the file atomically, like an editor or a mounted volume."""
    text = config if isinstance(config, str) else yaml.safe_dump(dict(config), sort_keys=False)
    beside = proxy.config_path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(proxy.config_path)


def reload(
    proxy: RunningProxy, config: Mapping[str, Any] | str, outcome: str = "config_reloaded", timeout: float = 90
) -> dict[str, Any]:
    """Writes the config, sends SIGHUP and waits for the log line with the result."""
    before = len(events(proxy, outcome))
    write(proxy, config)
    os.kill(proxy.pid, signal.SIGHUP)
    return wait_for_event(proxy, outcome, before, timeout)


def wait_for_event(proxy: RunningProxy, name: str, before: int = 0, timeout: float = 30) -> dict[str, Any]:
    deadline = time.monotonic() + timeout
    while len(found := events(proxy, name)) <= before:
        assert proxy.running, f"the proxy has ended:\n{proxy.log()[-3000:]}"
        assert time.monotonic() < deadline, f"no {name} in the log:\n{proxy.log()[-3000:]}"
        time.sleep(0.05)
    return found[-1]
