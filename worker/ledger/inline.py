"""What a request can cost, from its body and the catalog alone: the quotes that the edge makes itself.

The catalog has what it takes for most models. For the others (wildcards, deployments that add fields of their own) and
for what only the proxy's own checks can judge there is no quote here, and the proxy is asked.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from . import charges, tags
from .estimate import prompt
from .prices import Price
from .reserve import Quote

# Fields by which a request changes where it may end up.
_OWN_WAY = ("fallbacks", "disable_fallbacks")


class Quoted(NamedTuple):
    """`model`: as the client names it. `tags`: the request's, as `tags.of_request` finds them."""

    model: str
    quote: Quote
    tags: str = ""


class Quoter:
    """`deployments` and `reach`: the catalog's; `is_on`: whether a deployment with these needs is on."""

    def __init__(
        self,
        deployments: list[Mapping[str, Any]],
        reach: Mapping[str, list[int]],
        is_on: Callable[[list[str]], bool],
        default_max_output: int,
    ) -> None:
        self._default_max_output = default_max_output
        on = [is_on(deployment["needs"]) for deployment in deployments]
        self._reach: dict[str, list[tuple[str, Price | None]]] = {
            name: [(deployments[i]["group"], deployments[i]["price"]) for i in indices if on[i]]
            for name, indices in reach.items()
        }

    def quote(self, endpoint: str, content: bytes) -> Quoted | None:
        """None where the proxy has to be asked. `endpoint`: its name in `api.endpoints`."""
        try:
            body = json.loads(content.decode())
        except (ValueError, RecursionError):
            return None
        if not isinstance(body, dict) or any(body.get(name) is not None for name in _OWN_WAY):
            return None
        if endpoint == "chat_completions" and body.get("messages") is None and body.get("input") is not None:
            return None  # another API's request, which the proxy translates
        model = body.get("model")
        reachable = self._reach.get(model) if isinstance(model, str) else None
        if not isinstance(model, str) or not reachable:
            return None
        try:
            charge = charges.of_body(endpoint, body)
            found = charges.most(body, prompt(body), reachable, charge, self._default_max_output)
        except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            return None  # a field that is none of what it should be: the proxy says which
        return Quoted(model, found, tags.of_request(body))
