"""A gateway config, raw requests and the expected shape of errors."""

from pathlib import Path
from typing import Any

import orjson

from tests.container.raw import Answer, ask
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, RunningProxy

PROVIDER_KEY = "sk-provider-0123456789abcdef"
MESSAGES = [{"role": "user", "content": "Hello there"}]
CHAT = "/v1/chat/completions"
ENDLESS = Behaviour(text="x" * 1000, pace=0.1, chunks=1000)  # 100 s
AUTHORIZED = {"authorization": f"Bearer {MASTER_KEY}"}


def models(provider: FakeProvider, **more: Any) -> dict[str, Any]:
    def at_provider(name: str, model: str) -> dict[str, Any]:
        params = {"model": model, "api_base": provider.openai_base, "api_key": PROVIDER_KEY}
        return {"model_name": name, "litellm_params": params}

    return {
        "model_list": [
            at_provider("gpt", "openai/gpt-4o"),
            at_provider("claude", "openai/stands-for-claude"),
            at_provider("free/*", "openai/*"),
            {"model_name": "off", "litellm_params": {"model": "groq/x"}},
            {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hello!"}},
        ],
        "router_settings": {"fallbacks": [{"claude": ["gpt", "mock"]}], "num_retries": 0, "disable_cooldowns": True},
        **more,
    }


def post(
    gateway: RunningProxy, path: str = CHAT, headers=AUTHORIZED, raw: bytes | None = None, **fields: Any
) -> Answer:
    body = raw if raw is not None else orjson.dumps({"model": "gpt", "messages": MESSAGES, **fields})
    return ask(gateway.port, "POST", path, headers, body)


def get(gateway: RunningProxy, path: str, headers=AUTHORIZED, method: str = "GET") -> Answer:
    return ask(gateway.port, method, path, headers)


def refused(answer: Answer, status: int, type: str, code: str | None = None) -> str:
    """The message of an error in the standard shape."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.json.keys() == {"error"}
    error = answer.json["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == type
    assert code is None or error["code"] == code
    assert answer.headers["x-request-id"]
    return error["message"]


def resident_megabytes(pid: int) -> float:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024
