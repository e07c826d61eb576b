"""docs/troubleshooting.md: each message that its tables name is brought about, and said in these words."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.processes import MASTER_KEY, ROOT, RunningProxy, StartProxy

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
# Said by pip, before anything of ours is there.
NOT_OURS = {"externally-managed-environment"}


def messages(section: str, column: int) -> set[str]:
    """What stands as code in a column of the section's table, but for what others say."""
    table = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    return {found for row in rows for found in re.findall(r"`([^`]+)`", row[column])} - NOT_OURS


def said(message: str, text: str) -> bool:
    """Whether the text holds the message, in which `…` is anything."""
    return re.search(".+?".join(re.escape(part) for part in message.split("…")), text, re.DOTALL) is not None


def deployment(name: Any, **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": "openai/nobody-knows-its-price", **params}}


MOCK = deployment("mock", mock_response="Hello!") | {
    "model_info": {"input_cost_per_token": 0.001, "output_cost_per_token": 0.001}
}


class Start:
    """What a start says that fails."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, config: dict[str, Any] | None, *arguments: str, **environment: str) -> str:
        path = self._folder / "litellm_config.yaml"
        if config is not None:
            path.write_text(yaml.safe_dump(config))
        ended = subprocess.run(
            [sys.executable, "-m", "container", "serve", "--config", str(path), "--port", "0", *arguments],
            cwd=ROOT, env={"PATH": os.environ["PATH"], "LEDGER_PATH": str(self._folder / "ledger.db"), **environment},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert ended.returncode == 1, ended.stderr
        return ended.stderr

    def on_a_port_that_is_taken(self) -> str:
        with socket.create_server(("127.0.0.1", 0)) as other:
            return self({"model_list": [MOCK]}, "--port", str(other.getsockname()[1]))

    def where_no_folder_can_be_made(self) -> str:
        file = self._folder / "a-file"
        file.write_text("")
        return self({"model_list": [MOCK]}, LEDGER_PATH=str(file / "ledger.db"))


# What a start says that goes on.
WARNINGS = {"is not a setting that this gateway knows"}
STARTS: dict[str, Callable[[Start], str]] = {
    "error: there is no such file.": lambda start: start(None),
    "is no text: YAML reads it as": lambda start: start({"model_list": [deployment(False)]}),
    "Cannot listen on … Address already in use.": Start.on_a_port_that_is_taken,
    "Without a LITELLM_MASTER_KEY anyone who reaches … could spend your money.": lambda start: start(
        {"model_list": [MOCK]}, "--host", "0.0.0.0"
    ),
    "LITELLM_MASTER_KEY is sk-1234, which everybody knows": lambda start: start(
        {"model_list": [MOCK]}, "--host", "0.0.0.0", LITELLM_MASTER_KEY="sk-1234"
    ),
    "The ledger cannot be kept in …": Start.where_no_folder_can_be_made,
}


def test_a_setting_that_does_nothing_is_a_warning(tmp_path: Path):
    config = tmp_path / "litellm_config.yaml"
    config.write_text(yaml.safe_dump({"model_list": [MOCK], "router_settings": {"num_retrys": 1}}))
    command = [sys.executable, "-m", "container", "check", "--config", str(config)]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0
    assert all(message in checked.stdout + checked.stderr for message in WARNINGS)


@pytest.mark.parametrize("message", STARTS)
def test_a_start_that_fails_says_so(message: str, tmp_path: Path):
    printed = STARTS[message](Start(tmp_path))
    assert said(message, printed), printed


def test_every_start_of_the_page_is_tried():
    assert messages("It does not start", 0) == STARTS.keys() | WARNINGS


class Asked:
    """A gateway with everything on it that can go wrong, asked."""

    def __init__(self, running: RunningProxy) -> None:
        self._running = running

    def post(self, path: str, fields: Any, key: str | None = MASTER_KEY) -> httpx.Response:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        content = {"content": fields} if isinstance(fields, str) else {"json": fields}
        return httpx.post(self._running.url + path, headers=headers, timeout=60, **content)

    def chat(self, model: str, key: str | None = MASTER_KEY, **more: Any) -> httpx.Response:
        fields = {"model": model, "messages": [{"role": "user", "content": "Hello"}], **more}
        return self.post("/v1/chat/completions", fields, key)

    def key(self, **fields: Any) -> str:
        return self.post("/key/generate", fields).json()["key"]

    def guesses(self) -> httpx.Response:
        answers = [self.chat("mock", f"sk-guess-{i}") for i in range(40)]
        return answers[-1]

    def again(self, key: str) -> httpx.Response:
        assert self.chat("mock", key).status_code == 200
        return self.chat("mock", key)


REFUSALS: dict[str, tuple[int, Callable[[Asked], httpx.Response]]] = {
    "No API key given.": (401, lambda ask: ask.chat("mock", None)),
    "This API key is not valid here.": (401, lambda ask: ask.chat("mock", "sk-unknown")),
    "Too many keys from this address were not valid.": (429, Asked.guesses),
    "This key may not use the model '…'.": (403, lambda ask: ask.chat("mock", ask.key(models=["offline"]))),
    "The model '…' does not exist here.": (404, lambda ask: ask.chat("nonesuch")),
    "There is nothing at …": (404, lambda ask: ask.post("/v1/v1/chat/completions", {})),
    "The body is not valid JSON": (400, lambda ask: ask.post("/v1/chat/completions", "{'model': 'mock'}")),
    "… cannot be set by a request here": (400, lambda ask: ask.chat("mock", api_base="http://elsewhere.example")),
    "The model '…' has no price here": (400, lambda ask: ask.chat("unpriced", ask.key(max_budget=1))),
    "The budget of … is exhausted": (429, lambda ask: ask.chat("mock", ask.key(max_budget=0.0001))),
    "Limit of … requests a minute reached.": (429, lambda ask: ask.again(ask.key(rpm_limit=1))),
    "The model '…' is off": (503, lambda ask: ask.chat("offline")),
    "No deployment answered. Tried: …": (502, lambda ask: ask.chat("unpriced")),
}


@pytest.fixture(scope="module")
def asked(module_proxy: StartProxy) -> Asked:
    nobody = {"api_base": "http://127.0.0.1:9", "api_key": "sk-of-nobody"}
    models = [MOCK, deployment("offline"), deployment("unpriced", **nobody)]
    return Asked(module_proxy({"model_list": models, "router_settings": {"num_retries": 0}}))


@pytest.mark.parametrize("message", REFUSALS)
def test_a_refusal_says_so(message: str, asked: Asked):
    status, cause = REFUSALS[message]
    answer = cause(asked)
    assert answer.status_code == status, answer.text
    assert said(message, answer.json()["error"]["message"]), answer.text


def test_a_database_that_does_not_answer_is_said(proxy: StartProxy):
    running = proxy({"model_list": [MOCK]}, environment={"DATABASE_URL": "postgresql://nobody:x@127.0.0.1:9/none"})
    answer = Asked(running).chat("mock")
    assert answer.status_code == 503
    assert "The ledger cannot be used now" in answer.json()["error"]["message"]
    assert '"event":"ledger_unavailable"' in running.log()


def test_every_refusal_of_the_page_is_tried():
    assert messages("A request is refused", 1) == {*REFUSALS, "The ledger cannot be used now"}
