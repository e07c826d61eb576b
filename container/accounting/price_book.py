"""What a request can cost at the deployments that it can reach."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from worker.core.pricing import estimate, prices
from worker.core.pricing import quote as charges
from worker.core.pricing.prices import Price
from worker.core.pricing.quote import Charge, Quote
from worker.core.pricing.tokens import LARGEST

from ..config import parameters
from ..config.deployment import Deployment
from ..config.load import Config
from ..config.parameters import split_route
from ..config.price_map import price_map
from ..config.prices import entry, tokenizer
from ..formats.shared.capabilities import capabilities
from ..routing.groups import Target
from ..routing.router import Router, RouteRequest

_CHAINS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
# What a mock model answers with costs nothing unless its model_info says so.
_FREE: Price = {"input": 0, "output": 0, "above": [], "image_tokens": 0, **dict.fromkeys(("image", "character"), 0)}


class CandidatePrices(NamedTuple):
    """The deployments that are on, for a model and its fallbacks: those that take a request as it is, and those that
    add fields of their own."""

    plain: tuple[tuple[str, Price | None], ...]
    preset: tuple[tuple[str, Price | None, Mapping[str, Any]], ...]


class PriceBook:
    """The prices of a configuration. The price map is read once and let go of, but for what wildcards can reach."""

    def __init__(self, config: Config, router: Router, *, default_max_output: int) -> None:
        self._router = router
        self._default_max_output = default_max_output
        known = price_map()
        self._fixed = {d.id: _price(d, entry(d, known)) for d in config.deployments}
        self._wild = {d.id: _models_of(d, known) for d in config.deployments if d.wildcard}
        self._reaches: dict[str, CandidatePrices] = {}

    def price(self, target: Target) -> Price | None:
        """Of a deployment's tokens; None where nobody knows."""
        d = target.deployment
        wild = self._wild.get(d.id)
        if wild:
            _, model = split_route(d.provider, target.model)
            found = wild.get(f"{d.provider}/{model}") or wild.get(model)
            if found is not None:
                return _read(prices.price({**found, **d.info}, model), d, model)
        return self._fixed[d.id]

    def unpriced(self, config: Config) -> list[str]:
        """The models, wildcards among them, with a deployment that is on and has no price."""
        return list(dict.fromkeys(d.group for d in config.deployments if not d.off and self._fixed[d.id] is None))

    def quote(self, body: Mapping[str, Any], prompt: estimate.Prompt, route: RouteRequest, charge: Charge) -> Quote:
        """The most that the request can cost, at whichever deployment it ends up."""
        reach = self.reach(route)
        if reach.preset and charge.units:
            unsold = charges.no_unit([(name, price) for name, price, _ in reach.preset], charge)
            if unsold:
                return Quote(None, prompt.tokens(), None, unsold)
        best = charges.most(body, prompt, reach.plain, charge, self._default_max_output)
        for name, price, presets in reach.preset:
            whole = parameters.over(presets, body, charge.limits[-1] if charge.limits else "max_tokens")
            own = charges.most(whole, estimate.prompt(whole), [(name, price)], charge, self._default_max_output)
            best = charges.dearer(best, own) if reach.plain or best.tokens else own
        return best

    def reach(self, route: RouteRequest) -> CandidatePrices:
        """Where the request may end up."""
        known = self._reaches.get(route.model) if route.fallbacks is None else None
        if known is not None:
            return known
        plain: list[tuple[str, Price | None]] = []
        preset: list[tuple[str, Price | None, Mapping[str, Any]]] = []
        for name, target in targets(self._router, route):
            d = target.deployment
            if d.off:
                continue
            price = self.price(target)
            if d.presets:
                preset.append((name, price, d.presets))
            elif all(price != other for _, other in plain):  # one of those with the same prices says as much as all
                plain.append((name, price))
        reach = CandidatePrices(tuple(plain), tuple(preset))
        if route.fallbacks is None and route.model in self._router.groups.names:  # others are what clients make up
            self._reaches[route.model] = reach
        return reach


def targets(router: Router, route: RouteRequest) -> list[tuple[str, Target]]:
    """Where the request may end up, those that are off as well: the public name under which, and the target."""
    names = [route.model]
    for chain in _CHAINS:
        names += router.fallbacks(route, chain)
    return [(name, target) for name in dict.fromkeys(names) for target in router.groups.targets(name)]


def _price(d: Deployment, known: Mapping[str, Any]) -> Price | None:
    found = prices.price(known, d.model)
    return _FREE if found is None and d.kind == "mock" else _read(found, d, d.model)


def _read(price: Price | None, d: Deployment, model: str) -> Price | None:
    """With the tokenizer by which the model reads, where that is known, and the output limits between which every limit
    is sent."""
    if price is None:
        return None
    known, can = tokenizer(d, model), capabilities(d, model)
    price = {name: value for name, value in price.items() if name != "max_output"}
    if can.max_output is not None:
        price["max_output"] = can.max_output
    if can.min_output > 1:
        price["min_output"] = can.min_output
    return price if known == LARGEST else {**price, "tokenizer": known}


def _models_of(d: Deployment, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The map's entries of a wildcard's provider, by the names that `entry` would look for."""
    prefix = f"{d.provider}/"
    return {
        name: found
        for name, found in known.items()
        if name.startswith(prefix) or ("/" not in name and found.get("litellm_provider") == d.provider)
    }
