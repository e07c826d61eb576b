"""A proxy behind an edge played by the test: it sends grants, parks uploads, admits them, and fetches the journal."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import httpx

from container.config.load import load
from container.proxy import catalog
from tests.money import chat
from tests.processes import RunningProxy, StartProxy
from worker.core.ledger.settle import Report
from worker.core.protocol import instance_of

TOKEN = "t0ken-of-the-edge"
BEHIND = {"INTERNAL_TOKEN": TOKEN}
_numbers = itertools.count(1)


class Behind:
    """Plays the edge. `http` sends the token and the catalog's hash."""

    def __init__(self, proxy: RunningProxy) -> None:
        self.proxy = proxy
        self.hash = catalog.catalog(load(proxy.config_path, {}))["hash"]
        headers = {"x-internal-token": TOKEN, "x-internal-catalog": self.hash}
        self.http = httpx.Client(base_url=proxy.url, timeout=60, headers=headers)
        self.instance = instance_of(TOKEN)

    def post(self, path: str = "/v1/chat/completions", *, grant: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """Posts a request. `grant` is merged into the reservation's grant; the body is `json`, or a chat completion."""
        if not {"json", "content", "files"} & set(more):
            more["json"] = chat()
        headers = {**self.granted(**(grant or {})), **more.pop("headers", {})}
        return self.http.post(path, headers=headers, **more)

    def granted(self, **fields: Any) -> dict[str, str]:
        """Returns the grant header."""
        return {"x-internal-grant": json.dumps(a_grant(**fields))}

    def park(self, path: str = "/v1/chat/completions", *, models: list[str] | None = None, **more: Any) -> Any:
        if not {"json", "content", "files"} & set(more):
            more["json"] = chat()
        headers = {"x-internal-grant": json.dumps({"models": models}), **more.pop("headers", {})}
        return self.http.post("/internal/park" + path, headers=headers, **more)

    def go(self, id: str, **grant: Any) -> httpx.Response:
        return self.http.post(f"/internal/go/{id}", headers=self.granted(**grant))

    def poll(self, ack: int = 0, wait: float = 0.0, doubtful: tuple[str, ...] = ()) -> dict[str, Any]:
        answer = self.http.post("/internal/journal", json={"ack": ack, "wait": wait, "doubtful": doubtful})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def reports(self, ack: int = 0, wait: float = 5.0) -> list[Report]:
        """Polls the journal until it has entries."""
        return [Report(*fields) for _, fields in self.poll(ack, wait)["entries"]]

    def report(self) -> Report:
        """Returns the only report and acknowledges it."""
        page = self.poll(0, 5.0)
        ((number, fields),) = page["entries"]
        self.poll(number)
        return Report(*fields)

    def finish(self) -> None:
        """Fetches the remaining reports, because the proxy waits for that before it exits."""
        if self.proxy.running:
            page = self.poll()
            while page["entries"]:
                page = self.poll(page["entries"][-1][0])
        self.http.close()


def a_grant(**fields: Any) -> dict[str, Any]:
    grant = {"reservation": f"r{next(_numbers)}", "amount": 10_000_000, "output_limit": None, "limited": False}
    return {**grant, "models": None, "headers": [], **fields}


def behind(proxy: StartProxy, config: Mapping[str, Any], **environment: str) -> Behind:
    return Behind(proxy(config, master_key=None, environment={**BEHIND, **environment}))
