"""`/`, `/health`, `/health/liveliness`, `/health/readiness`, `/openapi.json`: no key, no call to a provider."""

import orjson

from worker.api import health, openapi
from worker.ledger.key_schemas import KEY_SCHEMAS

from ..accounting import Accounts
from ..engine.supervisor import Engine
from ..exchange import Exchange


class Health:
    """`refusal`: why nothing is served, None when all is well."""

    def __init__(self, models: list[str], engine: Engine, accounting: Accounts, refusal: str | None = None) -> None:
        self._models = models
        self._engine = engine
        self._accounting = accounting
        self._refusal = refusal

    async def root(self, exchange: Exchange) -> None:
        await _say(exchange, {"status": "healthy", "service": "litellm-router", "health": "/health", "api": "/v1"})

    async def health(self, exchange: Exchange) -> None:
        await _say(exchange, {"status": "healthy", "models": self._models, "engine": self._engine.state})

    async def alive(self, exchange: Exchange) -> None:
        await _say(exchange, {"status": "healthy"})

    async def ready(self, exchange: Exchange) -> None:
        """503 while requests would be refused. It is for load balancers: to restart the proxy would mend nothing."""
        reason = self._refusal
        if reason is None and not await self._accounting.usable():
            reason = health.NO_LEDGER
        if reason is not None:
            exchange.respond(503, orjson.dumps({"status": "unhealthy", "reason": reason}), health.RETRY_SOON)
            return
        await _say(exchange, {"status": "healthy"})

    async def description(self, exchange: Exchange) -> None:
        exchange.respond(200, openapi.text(KEY_SCHEMAS).encode())


async def _say(exchange: Exchange, fields: dict) -> None:
    exchange.respond(200, orjson.dumps(fields))
