"""`/`, `/health`, `/health/liveliness`, `/health/readiness`, `/openapi.json`: no key, no call to a provider."""

import orjson

from worker.api import openapi

from ..engine.supervisor import Engine
from ..exchange import Exchange


class Health:
    def __init__(self, models: list[str], engine: Engine) -> None:
        self._models = models
        self._engine = engine

    async def root(self, exchange: Exchange) -> None:
        await _say(exchange, {"status": "healthy", "service": "litellm-router", "health": "/health", "api": "/v1"})

    async def health(self, exchange: Exchange) -> None:
        await _say(exchange, {"status": "healthy", "models": self._models, "engine": self._engine.state})

    async def alive(self, exchange: Exchange) -> None:
        await _say(exchange, {"status": "healthy"})

    async def description(self, exchange: Exchange) -> None:
        exchange.respond(200, openapi.text().encode())


async def _say(exchange: Exchange, fields: dict) -> None:
    exchange.respond(200, orjson.dumps(fields))
