"""Models with prices, and keys and spend as operators and clients see them, standalone and at the edge."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from tests.fakes.server import FakeProvider

# US dollars per input token and per output token.
IN, OUT = 0.000001, 0.000002


def deployment(fake: FakeProvider, name: str, model: str = "", **info: Any) -> dict[str, Any]:
    """A deployment with prices, unless `info` overrides them."""
    return {
        "model_name": name,
        "litellm_params": {"model": f"openai/{model or name}", "api_base": fake.openai_base, "api_key": "sk-provider"},
        "model_info": {"input_cost_per_token": IN, "output_cost_per_token": OUT, **info},
    }


def chat(model: str = "gpt", content: str = "Hi", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": content}], **fields}


class Money:
    """`http` is the gateway's client. Each request names the key that it is sent with."""

    def __init__(self, http: httpx.Client, master_key: str) -> None:
        self.http = http
        self._master_key = master_key

    def admin(self, path: str, fields: dict[str, Any] | None = None, **query: Any) -> Any:
        headers = {"authorization": f"Bearer {self._master_key}"}
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

    def logs(self, key: str | None = None) -> list[dict[str, Any]]:
        return self.admin("/spend/logs", **({} if key is None else {"key": key}))["data"]

    def ask(
        self,
        key: str | None = None,
        path: str = "/v1/chat/completions",
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> httpx.Response:
        """Sends a chat completion with the master key, unless `path`, `fields` or `key` say otherwise."""
        body = chat(**fields) if "input" not in fields else {"model": "gpt", **fields}
        own = {"authorization": f"Bearer {key or self._master_key}", **(headers or {})}
        return self.http.post(path, json=body, headers=own)


def wait_for(ask: Callable[[], Any], good: Callable[[Any], bool], seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while not good(found := ask()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {found}"
        time.sleep(0.01)
    return found
