"""The maximum cost of a request across the deployments that may serve it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from worker.core.pricing import estimate, prices
from worker.core.pricing import quote as quotes
from worker.core.pricing.estimate import LARGEST
from worker.core.pricing.prices import Charge, Price, no_unit
from worker.core.pricing.quote import Quote

from ..config.deployment import Deployment, over_presets, price_entry, price_map, split_route, tokenizer
from ..config.load import Config
from ..formats.shared.capabilities import capabilities
from ..routing.router import CHAINS, Router, RouteRequest, Target

# Mock responses are free unless `model_info` sets a price.
_FREE: Price = {"input": 0, "output": 0, "above": [], "image_tokens": 0, **dict.fromkeys(("image", "character"), 0)}


class CandidatePrices(NamedTuple):
    """Prices of the enabled deployments of a model and its fallbacks.

    `plain`: deployments that send the request as it is. `preset`: deployments that add fields of their own.
    """

    plain: tuple[tuple[str, Price | None], ...]
    preset: tuple[tuple[str, Price | None, Mapping[str, Any]], ...]


class PriceBook:
    """The prices of a configuration. Of LiteLLM's price map only the entries that wildcards match are kept."""

    def __init__(
        self,
        config: Config,
        router: Router,
        *,
        default_max_output: int | None = None,
        min_output: int = quotes.MIN_OUTPUT,
    ) -> None:
        self._router = router
        self._default_max_output = default_max_output
        self._min_output = min_output
        known = price_map()
        self._fixed = {d.id: _price(d, price_entry(d, known)) for d in config.deployments}
        self._wild = {d.id: _models_of(d, known) for d in config.deployments if d.wildcard}
        self._reaches: dict[str, CandidatePrices] = {}

    def price(self, target: Target) -> Price | None:
        """Return the prices of a deployment, or None if unknown."""
        d = target.deployment
        wild = self._wild.get(d.id)
        if wild:
            _, model = split_route(d.provider, target.model)
            found = wild.get(f"{d.provider}/{model}") or wild.get(model)
            if found is not None:
                return _read(prices.price({**found, **d.info}, model), d, model)
        return self._fixed[d.id]

    @property
    def unknown_max_output(self) -> int:
        """The output limit of a request that has none, at a model whose maximum is not known."""
        return self._default_max_output or quotes.UNKNOWN_MAX_OUTPUT

    def unpriced(self, config: Config) -> list[str]:
        """List the models, including wildcards, that have an enabled deployment without a price."""
        return list(dict.fromkeys(d.group for d in config.deployments if not d.off and self._fixed[d.id] is None))

    @property
    def has_accounts(self) -> bool:
        """Whether any provider, model or deployment has limits of its own."""
        return bool(self._router.accounts)

    def candidates(self, route: RouteRequest) -> tuple[tuple[str, ...], ...]:
        """Return the accounts of the deployments that may serve the request; see `AdmissionRequest`."""
        return self._router.candidates(route)

    def quote(self, body: Mapping[str, Any], prompt: estimate.Prompt, route: RouteRequest, charge: Charge) -> Quote:
        """Return the maximum cost of the request at any deployment that may serve it."""
        reach = self.reach(route)
        if reach.preset and charge.units:
            unsold = no_unit([(name, price) for name, price, _ in reach.preset], charge)
            if unsold:
                return Quote(None, prompt.tokens(), None, unsold)
        best = quotes.most(body, prompt, reach.plain, charge, self._default_max_output, self._min_output)
        for name, price, presets in reach.preset:
            whole = over_presets(presets, body, charge.limits[-1] if charge.limits else "max_tokens")
            size = estimate.prompt(whole)
            own = quotes.most(whole, size, [(name, price)], charge, self._default_max_output, self._min_output)
            best = quotes.dearer(best, own) if reach.plain or best.tokens else own
        return best

    def reach(self, route: RouteRequest) -> CandidatePrices:
        """Return the prices of the deployments that may serve the request."""
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
            elif all(price != other for _, other in plain):  # equal prices need no second entry
                plain.append((name, price))
        reach = CandidatePrices(tuple(plain), tuple(preset))
        if route.fallbacks is None and route.model in self._router.groups.names:  # clients can invent other names
            self._reaches[route.model] = reach
        return reach


def targets(router: Router, route: RouteRequest) -> list[tuple[str, Target]]:
    """Return the public name and target of each deployment that may serve the request, including those that are off."""
    names = [route.model]
    for chain in CHAINS:
        names += router.fallbacks(route, chain)
    return [(name, target) for name in dict.fromkeys(names) for target in router.groups.targets(name)]


def _price(d: Deployment, known: Mapping[str, Any]) -> Price | None:
    found = prices.price(known, d.model)
    return _FREE if found is None and d.kind == "mock" else _read(found, d, d.model)


def _read(price: Price | None, d: Deployment, model: str) -> Price | None:
    """Add the model's tokenizer, if known, and the range to which output limits are clamped."""
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
    """Return the price map's entries for a wildcard's provider, by the names that `entry` would look up."""
    prefix = f"{d.provider}/"
    return {
        name: found
        for name, found in known.items()
        if name.startswith(prefix) or ("/" not in name and found.get("litellm_provider") == d.provider)
    }
