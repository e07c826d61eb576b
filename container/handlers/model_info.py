"""`/model/info`: every deployment, whether it is on, and how it is doing; for the master key alone."""

from typing import Any

import orjson

from worker.api import admin
from worker.api.health import RUNNING

from ..config import Config, Deployment
from ..exchange import Exchange
from ..routing.router import Router


class ModelInfo:
    """`vouched`: whoever comes is the edge, which has asked for the master key."""

    def __init__(self, config: Config, router: Router, *, vouched: bool) -> None:
        self._deployments = config.deployments
        self._router = router
        self._vouched = vouched

    async def __call__(self, exchange: Exchange) -> None:
        """Raises ApiError 403."""
        if not (exchange.administrator or self._vouched):
            raise admin.master_key_only()
        data = [self._shown(d) for d in self._deployments]
        exchange.respond(200, orjson.dumps({"container": RUNNING, "data": data}), admin.HEADERS)

    def _shown(self, d: Deployment) -> dict[str, Any]:
        """Named one by one: in what the config says of a deployment there may be secrets."""
        return {
            "model_name": d.group,
            "litellm_params": {"model": f"{d.provider}/{d.model}"},
            "model_info": {"id": d.id, "provider": d.provider, "kind": d.kind},
            "on": not d.off,
            "set": [need.replace("|", " or ") for need in d.off],
            "health": None if d.off else self._router.shown(d.id),
        }
