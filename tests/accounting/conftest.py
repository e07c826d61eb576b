"""A standalone proxy with a ledger, fake providers behind it."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.fakes import FakeProvider
from tests.ledger.conftest import NewDatabase, new_database
from tests.processes import MASTER_KEY, ROOT, RunningProxy, StartProxy

__all__ = ["NewDatabase", "new_database"]

# US dollars for a token in and a token out.
IN, OUT = 0.000001, 0.000002


def deployment(fake: FakeProvider, name: str, model: str = "", **info: Any) -> dict[str, Any]:
    """A priced one unless `info` says otherwise."""
    return {
        "model_name": name,
        "litellm_params": {"model": f"openai/{model or name}", "api_base": fake.openai_base, "api_key": "sk-provider"},
        "model_info": {"input_cost_per_token": IN, "output_cost_per_token": OUT, **info},
    }


def chat(model: str = "gpt", content: str = "Hi", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": content}], **fields}


class Ledgered:
    """A proxy by its URL, as its operator and its clients see it."""

    def __init__(self, proxy: RunningProxy) -> None:
        self.proxy = proxy
        self.http = httpx.Client(base_url=proxy.url, timeout=60)

    def admin(self, path: str, fields: dict[str, Any] | None = None, **query: Any) -> Any:
        headers = {"authorization": f"Bearer {MASTER_KEY}"}
        if fields is None:
            answer = self.http.get(path, params=query, headers=headers)
        else:
            answer = self.http.post(path, json=fields, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def key(self, **fields: Any) -> str:
        return self.admin("/key/generate", fields)["key"]

    def info(self, key: str) -> dict[str, Any]:
        return self.admin("/key/info", key=key)["info"]

    def spend(self) -> dict[str, Any]:
        return self.admin("/global/spend")

    def logs(self) -> list[dict[str, Any]]:
        return self.admin("/spend/logs")["data"]

    def ask(self, key: str | None = None, path: str = "/v1/chat/completions", **fields: Any) -> httpx.Response:
        """A chat completion, unless `path` and `fields` make it something else."""
        body = chat(**fields) if "input" not in fields else fields
        return self.http.post(path, json=body, headers={"authorization": f"Bearer {key or MASTER_KEY}"})

    def settled(self, seconds: float = 5.0) -> dict[str, Any]:
        """The global spend, once no request is open any more."""
        return wait_for(self.spend, lambda found: found["running_requests"] == 0, seconds)


def wait_for(ask: Callable[[], Any], good: Callable[[Any], bool], seconds: float = 5.0) -> Any:
    deadline = time.monotonic() + seconds
    while not good(found := ask()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {found}"
        time.sleep(0.02)
    return found


@pytest.fixture
def start(proxy: StartProxy, fake: FakeProvider) -> Callable[..., Ledgered]:
    """`start(litellm_settings…, environment=…, models=[…], cwd=…)`: by default one model, `gpt`."""

    def started(*, models: list[dict[str, Any]] | None = None, more: Any = None, **options: Any) -> Ledgered:
        environment, cwd = options.pop("environment", {}), options.pop("cwd", ROOT)
        sections = more or {}
        config = {
            "model_list": models or [deployment(fake, "gpt")],
            "router_settings": {"num_retries": 0, "disable_cooldowns": True, **sections},
        }
        if options:
            config["litellm_settings"] = options
        return Ledgered(proxy(config, environment=environment, cwd=cwd))

    return started


Start = Callable[..., Ledgered]
