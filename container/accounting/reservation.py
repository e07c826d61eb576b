"""A request's reservation: the most that it can cost at the deployments that may serve it (`PriceBook`), and the final
usage it is settled with (`Reservation`).

Without a complete usage, the text of the response (`Transcript`) and the reasoning that it does not show are estimated.
"""

import functools
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import orjson

from worker.core.ledger.settle import Report
from worker.core.pricing import estimate, prices
from worker.core.pricing import quote as quotes
from worker.core.pricing.estimate import LARGEST, Prompt, text_tokens
from worker.core.pricing.prices import ANY_LIMIT, Charge, Price, no_unit
from worker.core.pricing.quote import UNKNOWN_MAX_OUTPUT, Quote, most, quote
from worker.core.pricing.usage import Usage, count, usage, whole

from ..config.deployment import Deployment, over_presets, price_entry, price_map, split_route, tokenizer
from ..config.load import Config
from ..formats.anthropic.models import traits
from ..formats.shared.capabilities import capabilities
from ..formats.shared.events import payload, split
from ..observability import metrics
from ..routing.router import CHAINS, Router, RouteRequest, Target, Try

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


# What a request came to.

# Longer responses are extrapolated from their beginning.
_MOST_BYTES = 256 * 1024
_SAYING = ("choices", "delta", "content", "content_block", "output", "candidates")
_BLANK = re.compile(rb"\r?\n\r?\n")
_BLANK_BYTES = 4
_NOT_SAID = frozenset(
    "type role id finish_reason stop_reason object model call_id status finishReason thoughtSignature mimeType".split()
)


class Transcript:
    """Accepts whole server-sent events or one JSON body."""

    __slots__ = ("_kept", "_kept_size", "_size")

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self._kept_size = 0
        self._size = 0

    def add(self, data: bytes) -> None:
        size = len(data)
        if self._kept_size < _MOST_BYTES:
            self._kept.append(data)
            self._kept_size += size
        self._size += size

    def __bool__(self) -> bool:
        return self._size > 0

    def whole(self) -> bytes | None:
        """Return all data, or None if only the beginning was kept."""
        return b"".join(self._kept) if self._kept_size == self._size else None

    def payloads(self) -> list[dict[str, Any]]:
        """Return the JSON objects in the data that was kept."""
        data = b"".join(self._kept)
        if data.lstrip()[:1] == b"{":
            try:
                body = orjson.loads(data)
            except orjson.JSONDecodeError:
                return []
            return [body] if isinstance(body, dict) else []
        return [found for event in split(data) if (found := payload(event)) is not None]

    def text(self) -> str:
        """Return the generated text that was kept, or the raw data if it cannot be parsed."""
        texts: list[str] = []
        found = self.payloads()
        if not found and self._kept[:1] and self._kept[0].lstrip()[:1] == b"{":
            return b"".join(self._kept).decode("utf-8", "replace")
        for each in found:
            for name in _SAYING:
                _collect(each.get(name), texts)
        return "".join(texts)

    def tokens(self, tokenizer: str) -> int:
        """Estimate the number of generated tokens, rounded up."""
        text = self.text()
        if not text:
            return 0
        counted = text_tokens(text, tokenizer)
        return counted if self._size == self._kept_size else -(-counted * self._size // self._kept_size)


class UsageEvents:
    """Extracts the usage from event streams of Anthropic's Messages and OpenAI's other APIs."""

    __slots__ = ("_held", "usage")

    def __init__(self) -> None:
        self._held = bytearray()
        self.usage: dict[str, Any] = {}

    def feed(self, data: bytes) -> None:
        start = max(0, len(self._held) - _BLANK_BYTES)  # earlier data was searched already
        self._held += data
        if _BLANK.search(self._held, start) is None:
            return
        *events, self._held = (bytearray(part) for part in _BLANK.split(self._held))
        for event in map(bytes, events):
            found = payload(event) if b'"usage"' in event else None
            if found is None:
                continue
            for holder in (found.get("message"), found.get("response"), found):
                usage = holder.get("usage") if isinstance(holder, dict) else None
                if isinstance(usage, dict):
                    # Anthropic reports input at the start and output at the end.
                    self.usage.update((name, value) for name, value in usage.items() if value is not None)


def _collect(value: Any, texts: list[str]) -> None:
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list):
            stack.extend(reversed(value))
        elif isinstance(value, dict):
            stack.extend(v for k, v in reversed(value.items()) if k not in _NOT_SAID)


# Hidden reasoning: tokens that a model generates but does not show, known only from the final usage.

_ASKS_REASONING = ("reasoning_effort", "thinking", "reasoning")
_NO_REASONING: tuple[Any, ...] = (
    None,
    False,
    "",
    "none",
    {},
    {"type": "disabled"},
    {"effort": "none"},
    {"enabled": False},
)
_SIZES = (*ANY_LIMIT, "max_output_tokens", "n", "best_of", "prompt")
_REASONING_FIELDS = frozenset((*_ASKS_REASONING, *_SIZES))
_CHARGE = Charge((*ANY_LIMIT, "max_output_tokens"))
_NOTHING = Prompt(0)
# Models that reason by default and show little or none of it.
_THINKERS = re.compile(
    r"(?:^|[/.:])(?:o[1-9](?:[-:@]|$)|gpt-(?:[5-9]|1\d)(?!\d|.*chat)|grok-(?:[4-9]|3-mini)(?!.*non-))"
)
_RESEARCH = "deep-research"


def reasoning_fields(body: Mapping[str, Any], output_limit: int | None = None) -> dict[str, Any]:
    """Return the request fields that `hidden_output` needs, so that the body can be released.

    `output_limit`: the limit that is added if the request has none.
    """
    found = {name: body[name] for name in _REASONING_FIELDS & body.keys()}
    if output_limit is not None:
        found["max_tokens"] = output_limit
    return found


def hidden_output(fields: Mapping[str, Any], target: Target, price: Price | None) -> int | None:
    """Return the maximum output tokens, or None if nothing is hidden. `fields`: as returned by `reasoning_fields`."""
    presets = target.deployment.presets
    asked = any(fields.get(name, presets.get(name)) not in _NO_REASONING for name in _ASKS_REASONING)
    if not (asked or (price is not None and "reasoning" in price) or _thinks(target)):
        return None
    return most(over_presets(presets, fields), _NOTHING, [("", price)], _CHARGE, UNKNOWN_MAX_OUTPUT).tokens


def _thinks(target: Target) -> bool:
    info = target.deployment.info
    base = info.get("base_model")
    return bool(info.get("supports_reasoning")) or _reasons_by_name(base if isinstance(base, str) else target.model)


@functools.lru_cache(maxsize=1024)
def _reasons_by_name(model: str) -> bool:
    name = model.lower()
    return _RESEARCH in name or _THINKERS.search(name) is not None or traits(name).always_thinks


class Reports(Protocol):
    """Sink for final usage reports."""

    async def now(self, report: Report) -> None:
        """Report before the response ends."""

    async def with_answer(self, report: Report) -> list[tuple[str, str]]:
        """Report a complete response. Return headers to add to it."""
        ...

    def later(self, report: Report) -> None:
        """Report soon, independently of the request's task."""


Measure = Callable[[], tuple[int | None, Prompt]]
# Usage, whether it is an estimate, and the cost in nano-dollars, or None without a price.
Came = tuple[Usage, bool, int | None]


class Reservation:
    """The money reserved for a request.

    amount         nano-dollars reserved, None if the price is unknown
    prompt         the prompt's size; None if no limit applied, then `measure` computes it and the amount when needed
    output_limit   limit to add to the request, None if it has one or needs none
    most_output    the reservation covers no limit above this one, None if it covers the request's
    exhausted      ids of accounts that are used up: no deployment that draws on one of them may answer
    limited        a budget or token limit applies, so the output limit must not be dropped
    attempts       those that failed, a JSON list; '' for none
    report         what it was settled with, None before that
    """

    __slots__ = (
        "_amount",
        "_answered",
        "_asked",
        "_began",
        "_closed",
        "_costed",
        "_early",
        "_instance",
        "_measure",
        "_price_book",
        "_prompt",
        "_said",
        "_settlements",
        "_step",
        "_units",
        "_unread",
        "attempts",
        "exhausted",
        "id",
        "limited",
        "most_output",
        "output_limit",
        "report",
        "tier",
        "transcript",
    )

    def __init__(
        self,
        id: str,
        price_book: PriceBook,
        settlements: Reports,
        instance: str,
        *,
        amount: int | None,
        prompt: Prompt | None,
        output_limit: int | None,
        limited: bool,
        most_output: int | None = None,
        exhausted: frozenset[str] = frozenset(),
        measure: Measure | None = None,
        tier: Any = None,
        units: Mapping[str, int] | None = None,
    ) -> None:
        self.id = id
        self._amount = amount
        self._prompt = prompt
        self._measure = measure
        self.output_limit = output_limit
        self.limited = limited
        self.most_output = most_output
        self.exhausted = exhausted
        self.tier = tier
        self.transcript: Transcript | None = None
        self.attempts = ""
        self.report: Report | None = None
        self._price_book = price_book
        self._settlements = settlements
        self._instance = instance
        self._closed = False
        self._costed: Came | None = None
        self._units = units
        self._began = time.monotonic()
        self._step: Try | None = None
        self._answered = False
        self._said: Mapping[str, Any] | None = None
        self._asked: Mapping[str, Any] = {}
        self._early = False
        self._unread: Try | None = None

    @property
    def unknown_max_output(self) -> int:
        """The limit to add instead of `output_limit` at a model whose maximum is not known."""
        return self._price_book.unknown_max_output

    def trying(self, step: Try) -> None:
        """Record that the request is sent to a deployment. From now on it may cost money, unless the attempt fails."""
        self._step = step
        self.transcript = None
        self._answered = False
        self._costed = None

    def failed(self, *, unread: bool = False) -> None:
        """Record a failed attempt, which is free.

        `unread`: the response could not be read, so the provider may charge for it.
        """
        if unread:
            self._unread = self._step
        self._step = None

    def streaming(self, transcript: Transcript, asked: Mapping[str, Any]) -> None:
        """Record the start of a stream. `asked`: fields that allow hidden reasoning, from `reasoning_fields`."""
        self.transcript = transcript
        self._asked = asked

    def answered(
        self, said: Mapping[str, Any] | None, transcript: Transcript | None = None, *, early: bool = False
    ) -> None:
        """Record the response of the latest attempt.

        said         the reported usage, None or empty without one
        transcript   the text, counted for tokens that the usage lacks
        early        the response was cancelled or broke off
        """
        self._answered = True
        self._costed = None
        self._early = early
        self._said = said or None
        if transcript is not None:
            self.transcript = transcript

    def cost(self) -> int | None:
        """Return the response's cost in nano-dollars, or None without a price."""
        return self._came_to()[2]

    def prompt_tokens(self) -> int | None:
        """Return the most tokens that the prompt has at the latest deployment, or None if there is no bound."""
        most = self._most(self._price())
        return None if most.amount is None else most.tokens

    async def settle(self, status: int) -> None:
        """Settle before the response ends, so that the client's next request can use the released budget and slot."""
        if not self._closed:
            self._closed = True
            await self._settlements.now(self._settled(status))

    async def settle_with_answer(self, status: int) -> list[tuple[str, str]]:
        """Settle a complete response. Return headers to add to it."""
        if self._closed:
            return []
        self._closed = True
        return await self._settlements.with_answer(self._settled(status))

    def abandon(self, status: int = metrics.CLIENT_LEFT) -> None:
        """Settle from another task when the request's task ends. Does nothing if already settled."""
        if not self._closed:
            self._closed = True
            self._settlements.later(self._settled(status))

    def _settled(self, status: int) -> Report:
        report = self._report(status)
        if self.attempts:
            report = report._replace(attempts=self.attempts)
        self.report = report
        return report

    def _report(self, status: int) -> Report:
        instance = self._instance
        step = self._step = self._step or self._unread
        latency = int((time.monotonic() - self._began) * 1000)
        if step is None:
            return Report(self.id, instance, 0, status=status, latency=latency, provider="")
        d = step.target.deployment
        group = "" if d.group == step.group else d.group
        if not self._answered and not self.transcript:
            # The request was cancelled before the provider responded, or its response could not be read. The actual
            # usage is unknown, so the whole amount is charged.
            amount, _ = self._size()
            prompt = self._most(self._price()).tokens
            metrics.answered(d.group, d.id, Usage(prompt), amount or 0)
            return Report(
                self.id,
                instance,
                amount or 0,
                step.group,
                d.id,
                status,
                latency,
                prompt,
                estimated=1,
                provider=d.provider,
                group=group,
            )
        used, estimated, cost = self._came_to()
        metrics.answered(d.group, d.id, used, cost or 0)
        return Report(
            self.id,
            instance,
            cost or 0,
            step.group,
            d.id,
            status,
            latency,
            used.prompt,
            used.completion,
            used.cached,
            used.reasoning,
            int(estimated),
            provider=d.provider,
            group=group,
        )

    def _came_to(self) -> Came:
        """Return usage and cost, computed once per response."""
        costed = self._costed
        if costed is None:
            said = self._said or {}
            used, price = usage(said), self._price()
            units = self._sold(said)
            # Some providers report zero output at the start of a stream.
            complete = whole(said) and not (self._early and not used.completion)
            # Usage priced per unit need not report tokens.
            if complete or (units and (price is None or all(unit in price for unit in units))):
                costed = used, False, None if price is None else prices.cost(price, used, self._asked_tier(), units)
            else:
                costed = self._estimated(used, price, units)
            self._costed = costed
        return costed

    def _estimated(self, told: Usage, price: Price | None, units: Mapping[str, int] | None) -> Came:
        """Estimate what the reported usage lacks: the prompt as reserved, the output from its text."""
        most = None if told.prompt else self._most(price)
        completion = told.completion
        if not completion and self.transcript:
            completion = self.transcript.tokens(prices.tokenizer(price))
        step = self._step
        if self._early and step is not None:
            completion = max(completion, hidden_output(self._asked, step.target, price) or 0)
        used = told._replace(prompt=most.tokens if most else told.prompt, completion=completion)
        estimated = self._said is None or self._early or used != told
        if price is None:
            return used, estimated, None
        cost = prices.cost(price, used, self._asked_tier(), units)
        if most is not None and most.amount is not None:
            # Parts of a prompt can cost more than text, such as audio or cache writes.
            cost += max(0, most.amount - prices.cost(price, Usage(used.prompt), self._asked_tier()))
        amount = self._size()[0] if estimated and self.limited else None
        # Cap the estimate at the maximum cost of the request.
        return used, estimated, cost if amount is None else min(cost, amount)

    def _most(self, price: Price | None) -> Quote:
        """Return the maximum cost of the prompt at these prices."""
        return quote({"service_tier": self._asked_tier()}, self._size()[1], [("", price)], limits=())

    def _sold(self, said: Mapping[str, Any]) -> Mapping[str, int] | None:
        """Return the units that are charged. For searches the provider may report the number."""
        searches = count(said, "search_units") if self._units and "query" in self._units else 0
        return {"query": searches} if searches else self._units

    def _asked_tier(self) -> Any:
        """Return the service tier of the request, else the deployment's preset."""
        if self.tier is not None or self._step is None:
            return self.tier
        return self._step.target.deployment.presets.get("service_tier")

    def _price(self) -> Price | None:
        """Return the prices of the latest deployment."""
        return None if self._step is None else self._price_book.price(self._step.target)

    def _size(self) -> tuple[int | None, Prompt]:
        """Return the maximum cost in nano-dollars, None if unknown, and the prompt."""
        if self._prompt is None:
            assert self._measure is not None, "either the prompt or a way to measure it is given"
            measured, self._prompt = self._measure()
            self._amount = measured if self._amount is None else self._amount
        return self._amount, self._prompt


class Unaccounted:
    """A reservation that does nothing, for requests that are not accounted for here."""

    output_limit: int | None = None
    most_output: int | None = None
    exhausted: frozenset[str] = frozenset()
    unknown_max_output = UNKNOWN_MAX_OUTPUT
    limited = False
    transcript: Transcript | None = None
    report: Report | None = None

    def trying(self, step: Try) -> None: ...

    def failed(self, *, unread: bool = False) -> None: ...

    def streaming(self, transcript: Transcript, asked: Mapping[str, Any]) -> None: ...

    def answered(
        self, said: Mapping[str, Any] | None, transcript: Transcript | None = None, *, early: bool = False
    ) -> None: ...

    def cost(self) -> int | None:
        return None

    def prompt_tokens(self) -> int | None:
        return None

    async def settle(self, status: int) -> None: ...

    async def settle_with_answer(self, status: int) -> list[tuple[str, str]]:
        return []

    def abandon(self, status: int = metrics.CLIENT_LEFT) -> None: ...


UNACCOUNTED = Unaccounted()


AnyReservation = Reservation | Unaccounted
