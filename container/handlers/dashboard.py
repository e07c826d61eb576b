"""`/dashboard` and its files."""

from worker import dashboard
from worker.api.endpoints import dashboard_file
from worker.api.errors import unknown_path

from ..exchange import Exchange


async def serve(exchange: Exchange) -> None:
    """Raises ApiError 404."""
    name = dashboard_file(exchange.path) or dashboard.PAGE
    answer = dashboard.answer(name, exchange.header("if-none-match"))
    if answer is None:
        raise unknown_path(exchange.path)
    exchange.respond(answer.status, answer.content, answer.headers, answer.content_type)
