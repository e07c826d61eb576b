"""Fixtures: the admin API over HTTP, on a ledger in memory with its own clock."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from container.accounting.accounting import Accounting
from container.accounting.ledger import LocalLedger
from container.handlers.admin import Admin
from container.handlers.public import ModelInfo
from container.proxy.gateway import App
from container.server.auth import Authenticator
from container.server.context import RequestContext
from container.server.settings import read
from container.stores import SqliteStore
from tests.container.raw import Answer, ask
from tests.container.serving import serving
from tests.ledger.support import Ledger
from worker.core.ledger.keys import new_id

MASTER = "sk-master-of-the-tests"


class Gateway:
    """`url` is for clients; `ledger` is the ledger behind it, whose `now` tests set."""

    def __init__(self, port: int, ledger: Ledger) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.ledger = ledger

    async def ask(self, method: str, path: str, fields: Any = None, *, key: str | None = MASTER) -> Answer:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        body = b"" if fields is None else fields if isinstance(fields, bytes) else orjson.dumps(fields)
        return await asyncio.to_thread(ask, self.port, method, path, headers, body)

    async def post(self, path: str, fields: Mapping[str, Any] | bytes | None = None) -> Any:
        """Posts and returns the JSON of a successful response."""
        answer = await self.ask("POST", path, fields)
        assert answer.status == 200, answer.body
        return answer.json

    async def get(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status == 200, answer.body
        return answer.json

    async def spend(self, key: str | None, cost: int, model: str = "gpt-4o") -> None:
        """Records a request of this cost in nano-dollars."""
        id = new_id()
        admitted = await self.ledger.admit(key, cost, id=id, model=model)
        assert admitted["ok"], admitted
        await self.ledger.settle(id, cost, prompt_tokens=10, completion_tokens=5, status=200)


class _Healthy:
    async def __call__(self, context: RequestContext) -> None:
        context.respond(200, orjson.dumps({"status": "healthy", "models": ["gpt-4o", "mock"]}))

    async def description(self, context: RequestContext) -> None:
        raise NotImplementedError


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    store = SqliteStore(":memory:")
    await store.open()
    ledger = Ledger(store)
    nobody: Any = SimpleNamespace(list=None, one=None)
    guard = Authenticator(read({"LITELLM_HOST": "127.0.0.1"}), MASTER, (), virtual_keys=True)
    health: Any = _Healthy()
    no_models: Any = SimpleNamespace(deployments=())
    models = ModelInfo(no_models, nobody, vouched=False)
    price_book: Any = None  # nothing is priced here
    local = LocalLedger(store, ledger.policy, alone=True, now=lambda: ledger.now)
    accounting = Accounting(local, ledger.policy, price_book)

    async def run(make: Any, *arguments: Any) -> Any:
        return await store.run(make(*arguments))

    admin = Admin(run, store.dialect, ledger.policy, MASTER, lambda: ledger.now)
    async with serving(App(guard, nobody, nobody, nobody, nobody, models, health, (), admin, accounting)) as port:
        yield Gateway(port, ledger)
    await store.close()
