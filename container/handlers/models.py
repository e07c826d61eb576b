"""`/models` and `/models/{id}`: the models that can be asked now, in OpenAI's shape."""

import orjson

from worker.api.errors import model_not_found
from worker.ledger import keys

from ..config import Config
from ..exchange import Exchange
from ..routing.groups import Groups
from .drive import model_off

# When a model came into being is nobody's concern here; OpenAI's clients want a number.
_CREATED = 1677610602


class Models:
    """Both lists are worked out once."""

    def __init__(self, config: Config, groups: Groups) -> None:
        self._groups = groups
        self.on = [name for name in groups.names if any(not d.off for d in config.groups.get(groups.group(name), ()))]
        self._concrete = [name for name in self.on if "*" not in name]
        self._list = _list(self._concrete)

    async def list(self, exchange: Exchange) -> None:
        """A virtual key sees what it may use."""
        everything = exchange.models == "[]"
        exchange.respond(200, self._list if everything else _list(_allowed(self._concrete, exchange)))

    async def one(self, exchange: Exchange, name: str) -> None:
        """One that is off answers as it does when it is asked something: 503, saying what to set."""
        targets = self._groups.targets(name)
        if not targets or not keys.allows(exchange.models, name):
            raise model_not_found(name, _allowed(self.on, exchange))
        if all(t.deployment.off for t in targets):
            raise model_off(name, targets)
        exchange.respond(200, orjson.dumps(_model(name)))


def _allowed(names: list[str], exchange: Exchange) -> list[str]:
    return [name for name in names if keys.allows(exchange.models, name)]


def _list(names: list[str]) -> bytes:
    return orjson.dumps({"object": "list", "data": [_model(name) for name in names]})


def _model(name: str) -> dict:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "litellm-router"}
