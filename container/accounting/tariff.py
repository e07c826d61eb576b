"""What a request can cost at the deployments that it can reach."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from worker.ledger import estimate, prices
from worker.ledger.prices import Price
from worker.ledger.reserve import Quote, quote

from ..config import Config, Deployment
from ..config.prices import entry, price_map
from ..routing.groups import Target
from ..routing.router import Router, RouteRequest

_CHAINS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
# What a mock model answers with costs nothing unless its model_info says so.
_FREE: Price = {"input": 0, "output": 0, "above": [], "image_tokens": 0, **dict.fromkeys(("image", "character"), 0)}
_SOLD_BY_THE_PIECE = ("image", "character")
_NO_UNIT = (
    "The model '{name}' has no price for each {unit}, so it cannot be used under a budget. Set "
    "input_cost_per_{unit} in its model_info."
)
_LIMITS = ("max_tokens", "max_completion_tokens")


class _Reach(NamedTuple):
    """The deployments that are on, for a model and its fallbacks: those that take a request as it is, and those that
    add fields of their own."""

    plain: tuple[tuple[str, Price | None], ...]
    preset: tuple[tuple[str, Price | None, Mapping[str, Any]], ...]


class Tariff:
    """The prices of a configuration. The price map is read once and let go of, but for what wildcards can reach."""

    def __init__(self, config: Config, router: Router, *, default_max_output: int) -> None:
        self._router = router
        self._default_max_output = default_max_output
        known = price_map()
        self._fixed = {d.id: _price(d, entry(d, known)) for d in config.deployments}
        self._wild = {d.id: _models_of(d, known) for d in config.deployments if d.wildcard}
        self._reaches: dict[str, _Reach] = {}

    def price(self, target: Target) -> Price | None:
        """Of a deployment's tokens; None where nobody knows."""
        d = target.deployment
        wild = self._wild.get(d.id)
        if wild:
            found = wild.get(f"{d.provider}/{target.model}") or wild.get(target.model)
            if found is not None:
                return prices.price({**found, **d.info}, target.model)
        return self._fixed[d.id]

    def unpriced(self, config: Config) -> list[str]:
        """The models, wildcards among them, with a deployment that is on and has no price."""
        return list(dict.fromkeys(d.group for d in config.deployments if not d.off and self._fixed[d.id] is None))

    def quote(
        self,
        body: Mapping[str, Any],
        prompt: estimate.Prompt,
        route: RouteRequest,
        *,
        has_output: bool,
        units: Mapping[str, int] | None = None,
    ) -> Quote:
        """The most that the request can cost, at whichever deployment it ends up."""
        reach = self._reach(route)
        for name, price, *_ in (*reach.plain, *reach.preset):
            # By the piece where it is sold by the piece only: tokens that no limit bounds cannot be set aside.
            unit = next(
                (u for u in units or () if u in _SOLD_BY_THE_PIECE and price is not None and u not in price), None
            )
            if unit is not None:
                return Quote(None, prompt.tokens, None, _NO_UNIT.format(name=name, unit=unit))
        best = self._quote(_as_read_by_anyone(body), prompt, reach.plain, has_output, units)
        for name, price, presets in reach.preset:
            whole = {**presets, **body}
            own = self._quote(_as_read_by_anyone(whole), estimate.prompt(whole), [(name, price)], has_output, units)
            best = _dearer(best, own) if reach.plain or best.tokens else own
        return best

    def _quote(self, body: Mapping[str, Any], prompt: Any, reach: Any, has_output: bool, units: Any) -> Quote:
        return quote(
            body,
            prompt,
            reach,
            has_output=has_output,
            default_max_output=self._default_max_output,
            units=units,
        )

    def _reach(self, route: RouteRequest) -> _Reach:
        known = self._reaches.get(route.model) if route.fallbacks is None else None
        if known is not None:
            return known
        router = self._router
        names = [route.model]
        for chain in _CHAINS:
            names += router.fallbacks(route, chain)
        plain: list[tuple[str, Price | None]] = []
        preset: list[tuple[str, Price | None, Mapping[str, Any]]] = []
        for name in dict.fromkeys(names):
            for target in router.groups.targets(name):
                d = target.deployment
                if d.off:
                    continue
                price = self.price(target)
                if d.presets:
                    preset.append((name, price, d.presets))
                else:
                    plain.append((name, price))
        reach = _Reach(tuple(plain), tuple(preset))
        if route.fallbacks is None and route.model in router.groups.names:  # others are what clients make up
            self._reaches[route.model] = reach
        return reach


def _price(d: Deployment, known: Mapping[str, Any]) -> Price | None:
    found = prices.price(known, d.model)
    return _FREE if found is None and d.kind == "mock" else found


def _models_of(d: Deployment, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The map's entries of a wildcard's provider, by the names that `entry` would look for."""
    prefix = f"{d.provider}/"
    return {
        name: found
        for name, found in known.items()
        if name.startswith(prefix) or ("/" not in name and found.get("litellm_provider") == d.provider)
    }


def _as_read_by_anyone(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Providers differ in which of the two limits they obey, so the larger one counts."""
    both = [body[name] for name in _LIMITS if isinstance(body.get(name), int)]
    return body if len(both) < 2 or both[0] == both[1] else {**body, "max_completion_tokens": max(both)}


def _dearer(one: Quote, other: Quote) -> Quote:
    unpriced = one.unpriced or other.unpriced
    amount = None if unpriced or one.amount is None or other.amount is None else max(one.amount, other.amount)
    add = one.add_limit if one.add_limit is not None else other.add_limit
    return Quote(amount, max(one.tokens, other.tokens), add, unpriced)
