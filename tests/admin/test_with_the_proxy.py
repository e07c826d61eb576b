"""Keys and spend in a proxy process: changes through the API apply to the next request."""

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, RunningProxy, StartProxy

PRICE = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
CONFIG = {
    "model_list": [
        {"model_name": name, "litellm_params": {"model": "openai/x", "mock_response": "Hi."}, "model_info": PRICE}
        for name in ("mock", "other")
    ]
}


def ask(proxy: RunningProxy, path: str, fields: Any = None, key: str | None = None) -> tuple[int, Any]:
    """Sends a POST if there are fields, else a GET, and returns status and JSON. `key` replaces the master key."""
    headers = {"authorization": f"Bearer {key or proxy.master_key}"}
    body = None if fields is None else json.dumps(fields).encode()
    request = urllib.request.Request(proxy.url + path, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def chat(proxy: RunningProxy, key: str, model: str = "mock") -> int:
    return ask(proxy, "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "x"}]}, key)[0]


def test_the_lifecycle_of_a_key(proxy: StartProxy):
    running = proxy(CONFIG)
    assert chat(running, "sk-unheard-of") == 401
    status, made = ask(running, "/key/generate", {"key_alias": "bot", "models": ["mock"]})
    key, token = made["key"], made["token"]
    assert status == 200
    assert (chat(running, key), chat(running, key, "other")) == (200, 403)
    assert ask(running, "/key/list", key=key)[0] == 403
    assert ask(running, "/key/block", {"key": token})[0] == 200
    assert chat(running, key) == 401
    assert ask(running, "/key/unblock", {"key": token})[0] == 200
    second = ask(running, f"/key/{token}/regenerate", {"grace_period": "1h"})[1]["key"]
    assert (chat(running, key), chat(running, second)) == (200, 200)
    third = ask(running, f"/key/{second}/regenerate", {})[1]["key"]
    assert (chat(running, second), chat(running, third)) == (401, 200)
    assert ask(running, "/key/delete", {"keys": [third]})[0] == 200
    assert chat(running, third) == 401


def test_limits_and_spend(proxy: StartProxy):
    running = proxy(CONFIG)
    key = ask(running, "/key/generate", {"rpm_limit": 2})[1]["key"]
    assert [chat(running, key) for _ in range(3)] == [200, 200, 429]
    poor = ask(running, "/key/generate", {"max_budget": 0.000001})[1]["key"]
    assert chat(running, poor) == 429
    assert ask(running, "/key/update", {"key": poor, "max_budget": 1})[0] == 200
    assert chat(running, poor) == 200
    deadline = time.monotonic() + 10
    while len(ask(running, f"/spend/logs?key={key}")[1]["data"]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    lines = ask(running, f"/spend/logs?key={key}")[1]["data"]
    assert all(line["spend"] > 0 and line["model"] == "mock" for line in lines)


def test_behind_the_edge_there_is_no_admin_api(proxy: StartProxy):
    running = proxy(CONFIG, master_key=None, environment={"INTERNAL_TOKEN": "t"})
    request = urllib.request.Request(running.url + "/key/list", headers={"x-internal-token": "t"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    with caught.value as error:
        assert (error.code, json.load(error)["error"]["code"]) == (404, "unknown_url")


def test_the_commands_in_the_docs_work(proxy: StartProxy):
    running = proxy(CONFIG)
    page = (ROOT / "docs" / "keys.md").read_text()
    [block] = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "LITELLM_ROUTER_URL": running.url,
        "LITELLM_MASTER_KEY": str(running.master_key),
    }
    command = "set -e\n" + block.replace("litellm-router ", f"{sys.executable} -m container ")
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.count("sk-") >= 4
    assert done.stdout.endswith("1 key deleted.\n")
