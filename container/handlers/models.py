"""`/models` and `/models/{id}`: the models that can be asked now, in OpenAI's shape, or in Anthropic's for a client
that sends its version (https://docs.anthropic.com/en/api/models-list)."""

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

import orjson

from worker.api.errors import invalid_request, model_not_found
from worker.ledger import keys

from ..config import Config
from ..config.known_models import names
from ..config.price_map import price_map
from ..exchange import Exchange
from ..routing.groups import Groups
from .drive import model_off

# When a model came into being is nobody's concern here; clients want a time.
_CREATED = 1677610602
_CREATED_AT = "2023-02-28T18:56:42Z"
_MOST = 1000


class Models:
    """What wildcards reach is worked out once, when it is first asked for."""

    def __init__(self, config: Config, groups: Groups) -> None:
        self._groups = groups
        self._config = config
        self.on = [name for name in groups.names if any(not d.off for d in config.groups.get(groups.group(name), ()))]
        hidden = config.options.hidden_aliases
        self._concrete = [name for name in self.on if "*" not in name and name not in hidden]
        self._everything: tuple[str, ...] | None = None
        self._reading = asyncio.Lock()

    async def list(self, exchange: Exchange) -> None:
        """A virtual key sees what it may use. Raises ApiError 400."""
        exchange.anthropic = _is_anthropics(exchange)
        found = await self._names()
        if exchange.models != "[]":
            found = _allowed(found, exchange)
        if exchange.anthropic:
            exchange.respond(200, orjson.dumps(_page(found, exchange)))
        else:
            exchange.respond(200, orjson.dumps({"object": "list", "data": [_model(name) for name in found]}))

    async def one(self, exchange: Exchange, name: str) -> None:
        """One that is off answers as it does when it is asked something: 503, saying what to set."""
        exchange.anthropic = _is_anthropics(exchange)
        targets = self._groups.targets(name)
        if not targets or not keys.allows(exchange.models, name):
            raise model_not_found(name, _allowed(self.on, exchange))
        if all(t.deployment.off for t in targets):
            raise model_off(name, targets)
        exchange.respond(200, orjson.dumps((_anthropics if exchange.anthropic else _model)(name)))

    async def _names(self) -> tuple[str, ...]:
        async with self._reading:
            if self._everything is None:
                wild = [d for d in self._config.deployments if d.wildcard and not d.off]
                reached = names(wild, await asyncio.to_thread(price_map)) if wild else []
                self._everything = tuple(dict.fromkeys((*self._concrete, *reached)))
            return self._everything


def _is_anthropics(exchange: Exchange) -> bool:
    return exchange.headers.get("anthropic-version") is not None


def _page(found: Sequence[str], exchange: Exchange) -> dict[str, Any]:
    """All of them, unless the client asks for fewer. Raises ApiError 400."""
    query = dict(parse_qsl(exchange.request.raw_path.partition("?")[2]))
    limit = query.get("limit", str(_MOST))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:6]) <= _MOST):
        raise invalid_request(f"'limit' has to be a whole number from 1 to {_MOST}.", param="limit")
    for name in ("after_id", "before_id"):
        if name in query and query[name] not in found:
            raise invalid_request(f"'{name}' names no model that is listed.", param=name)
    if "after_id" in query and "before_id" in query:
        raise invalid_request("'after_id' and 'before_id' cannot be sent together.", param="before_id")
    first = found.index(query["after_id"]) + 1 if "after_id" in query else 0
    last = min(first + int(limit), len(found))
    more = last < len(found)
    if "before_id" in query:
        last = found.index(query["before_id"])
        first = max(0, last - int(limit))
        more = first > 0
    page = [_anthropics(name) for name in found[first:last]]
    ends = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    return {"data": page, "has_more": more, "first_id": ends[0], "last_id": ends[1]}


def _allowed(names: Sequence[str], exchange: Exchange) -> list[str]:
    return [name for name in names if keys.allows(exchange.models, name)]


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "litellm-router"}


def _anthropics(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": _CREATED_AT}
