"""Endpoints that need no key and call no provider: health, `/openapi.json` and `/dashboard`."""

import orjson

from worker import dashboard
from worker.core.api import health, openapi
from worker.core.api.endpoints import dashboard_file
from worker.core.api.errors import unknown_path
from worker.core.ledger.field_schemas import FIELD_SCHEMAS

from ..accounting.edge import Accounts
from ..engine.supervisor import Engine
from ..server.context import RequestContext


async def serve(context: RequestContext) -> None:
    """Serve a file of the dashboard. Raises ApiError 404."""
    name = dashboard_file(context.path) or dashboard.PAGE
    answer = dashboard.answer(name, context.header("if-none-match"))
    if answer is None:
        raise unknown_path(context.path)
    context.respond(answer.status, answer.content, answer.headers, answer.content_type)


class Health:
    """Implements `health.Door`. `refusal`: why requests are refused, or None."""

    def __init__(self, models: list[str], engine: Engine, accounting: Accounts, refusal: str | None = None) -> None:
        self.models = models
        self.refusal = refusal
        self._engine = engine
        self._accounting = accounting

    async def behind(self) -> dict[str, str]:
        return {"engine": self._engine.state}

    async def ledger_usable(self) -> bool:
        return await self._accounting.usable()

    async def __call__(self, context: RequestContext) -> None:
        status, body, headers = await health.answer(context.endpoint, self)
        context.respond(status, orjson.dumps(body), headers)

    async def description(self, context: RequestContext) -> None:
        context.respond(200, openapi.text(FIELD_SCHEMAS).encode())
