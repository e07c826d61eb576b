"""`/model/info`: every deployment, whether it is on, and how it is doing; for a virtual key its own models."""

import re
from typing import Any

import orjson

from worker.api import admin
from worker.api.health import RUNNING
from worker.ledger import keys

from ..config import Config, Deployment
from ..exchange import Exchange
from ..routing.router import Router

# Of what the config's `model_info` says, what clients look for and no secret can be in.
_SHOWN = re.compile(r"mode|base_model|max_\w*tokens|\w*cost\w*|supports_\w+|rpm|tpm")


class ModelInfo:
    """`vouched`: whoever comes is the edge, which has asked for a key."""

    def __init__(self, config: Config, router: Router, *, vouched: bool) -> None:
        self._deployments = config.deployments
        self._router = router
        self._vouched = vouched

    async def __call__(self, exchange: Exchange) -> None:
        """Raises ApiError 403."""
        of_everything = exchange.owner == "master" or (self._vouched and exchange.owner is None)
        if not of_everything and exchange.owner is None:
            raise admin.master_key_only()
        data = [self._shown(d) for d in self._deployments]
        if not of_everything:
            data = keys.of_a_key(data, exchange.models)
        exchange.respond(200, orjson.dumps({"container": RUNNING, "data": data}), admin.HEADERS)

    def _shown(self, d: Deployment) -> dict[str, Any]:
        """Named one by one: in what the config says of a deployment there may be secrets."""
        known = {name: value for name, value in d.info.items() if _SHOWN.fullmatch(name) and _is_plain(value)}
        return {
            "model_name": d.group,
            "litellm_params": {"model": f"{d.provider}/{d.model}"},
            "model_info": {**known, "id": d.id, "provider": d.provider, "kind": d.kind},
            "on": not d.off,
            "set": [need.replace("|", " or ") for need in d.off],
            "health": None if d.off else self._router.shown(d.id),
        }


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str) and not str(value).startswith("os.environ/")
