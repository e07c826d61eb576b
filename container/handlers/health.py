"""`/`, `/health`, `/health/liveliness`, `/health/readiness`, `/openapi.json`: no key, no call to a provider."""

import orjson

from worker.api import health, openapi
from worker.ledger.key_schemas import KEY_SCHEMAS

from ..accounting import Accounts
from ..engine.supervisor import Engine
from ..exchange import Exchange


class Health:
    """The proxy as `health.Door`. `refusal`: why nothing is served, None when all is well."""

    def __init__(self, models: list[str], engine: Engine, accounting: Accounts, refusal: str | None = None) -> None:
        self.models = models
        self.refusal = refusal
        self._engine = engine
        self._accounting = accounting

    async def behind(self) -> dict[str, str]:
        return {"engine": self._engine.state}

    async def ledger_usable(self) -> bool:
        return await self._accounting.usable()

    async def __call__(self, exchange: Exchange) -> None:
        status, body, headers = await health.answer(exchange.endpoint, self)
        exchange.respond(status, orjson.dumps(body), headers)

    async def description(self, exchange: Exchange) -> None:
        exchange.respond(200, openapi.text(KEY_SCHEMAS).encode())
