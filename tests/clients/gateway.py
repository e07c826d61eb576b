"""The gateway under test, with strict providers behind it: the proxy alone, and the Worker on workerd."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from container.config.load import load
from container.proxy import catalog
from dev.edge import PROXY_CLASS, OfflineEdge, proxy_image
from tests.clients import models
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, RunningProxy

# More than the whole run costs, so that every request is admitted against a budget.
BUDGET = 1000


class Gateway(NamedTuple):
    """`url` has no `/v1`. `key` is a virtual key with a budget. `log` returns the output so far."""

    url: str
    key: str

    def account(self) -> dict[str, float]:
        """What the key has spent and what is still reserved, in US dollars."""
        answer = httpx.get(f"{self.url}/key/info", params={"key": self.key}, headers=_MASTER, timeout=30)
        info = answer.raise_for_status().json()["info"]
        return {"spend": info["spend"], "reserved": info.get("reserved", 0)}


_MASTER = {"authorization": f"Bearer {MASTER_KEY}"}


@contextmanager
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        fake.always(Behaviour(scripted=True))
        yield fake


@contextmanager
def proxy(fake: FakeProvider, folder: Path) -> Iterator[Gateway]:
    folder.mkdir()
    path = models.written(models.config(fake.url), folder)
    with RunningProxy(path, folder, environment=models.environment(fake.url), fresh=True) as running:
        yield Gateway(running.url, _key(running.url))


@contextmanager
def edge(fake: FakeProvider, folder: Path) -> Iterator[Gateway]:
    folder.mkdir()
    path = models.written(models.config(fake.url), folder)
    variables = {"LITELLM_MASTER_KEY": MASTER_KEY, "LOCAL_DEVELOPMENT": "true", **models.environment(fake.url)}
    with (folder / "edge.log").open("w", encoding="utf-8", buffering=1) as log:
        running = OfflineEdge(
            folder,
            variables,
            {PROXY_CLASS: proxy_image(path)},
            replaced={"catalog.py": catalog.source(load(path, {}))},
            log=lambda line: print(line, file=log),
        )
        running.start()
        try:
            yield Gateway(running.url, _key(running.url))
        finally:
            running.stop()


def _key(url: str) -> str:
    answer = httpx.post(f"{url}/key/generate", json={"max_budget": BUDGET}, headers=_MASTER, timeout=30)
    return answer.raise_for_status().json()["key"]
