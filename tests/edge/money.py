"""Keys and spending at the edge, as its operator and its clients see them."""

import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.accounting.conftest import chat

from .conftest import Edge


class Money:
    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.http = edge.client

    def admin(self, path: str, fields: dict[str, Any] | None = None, **query: Any) -> Any:
        answer = self.http.get(path, params=query) if fields is None else self.http.post(path, json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def key(self, **fields: Any) -> str:
        return self.admin("/key/generate", fields)["key"]

    def info(self, key: str) -> dict[str, Any]:
        return self.admin("/key/info", key=key)["info"]

    def logs(self, key: str | None = None) -> list[dict[str, Any]]:
        return self.admin("/spend/logs", **({} if key is None else {"key": key}))["data"]

    def spend(self) -> dict[str, Any]:
        return self.admin("/global/spend")

    def ask(self, key: str | None = None, path: str = "/v1/chat/completions", **fields: Any) -> httpx.Response:
        """A chat completion, unless `path` and `fields` make it something else."""
        body = chat(**fields) if "input" not in fields else fields
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return self.http.post(path, json=body, headers=headers)

    def settled(self, key: str, lines: int = 1, seconds: float = 10.0) -> list[dict[str, Any]]:
        """The key's lines in the spend log, once there are so many."""
        return wait_for(lambda: self.logs(key), lambda found: len(found) == lines, seconds)


def wait_for(ask: Callable[[], Any], good: Callable[[Any], bool], seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while not good(found := ask()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {found}"
        time.sleep(0.01)
    return found
