"""One request's reservation, and what became of the request."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from worker.core.ledger.settle import Report
from worker.core.pricing import prices
from worker.core.pricing.estimate import Prompt
from worker.core.pricing.prices import Price
from worker.core.pricing.quote import Quote, quote
from worker.core.pricing.usage import Usage, count, usage, whole

from ..observability import metrics
from ..routing.router import Try
from . import hidden_reasoning
from .price_book import PriceBook
from .transcript import Transcript

CLIENT_LEFT = 499


class Reports(Protocol):
    """Where it is told what became of a request."""

    async def now(self, report: Report) -> None:
        """Before the end of the answer."""

    async def with_answer(self, report: Report) -> list[tuple[str, str]]:
        """As `now`, of an answer in one piece: the headers that it carries for it."""
        ...

    def later(self, report: Report) -> None:
        """Soon, whatever happens to the request's task."""


Measure = Callable[[], tuple[int | None, Prompt]]
# What was used, whether that is our estimate, and its cost in nano-dollars, None where there is no price.
Came = tuple[Usage, bool, int | None]


class Reservation:
    """`amount`: nano-dollars set aside, None where nobody knew the price; `prompt`: what it is made of. Where no
    limit applied nobody had to know it (`prompt` is None), and `measure` works both out if they are wanted after all.
    `output_limit`: what the request has to be sent with, None where it has a limit or needs none; `limited`: a budget
    or a limit on tokens applies, so that no limit may be dropped on the way."""

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
        "id",
        "limited",
        "output_limit",
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
        self.tier = tier
        self.transcript: Transcript | None = None
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

    def trying(self, step: Try) -> None:
        """The request goes to a deployment now: until that fails it may cost money."""
        self._step = step
        self.transcript = None
        self._answered = False
        self._costed = None

    def failed(self, *, unread: bool = False) -> None:
        """The deployment answered nothing that it could charge for; `unread`: nothing that could be read, for which it
        may."""
        if unread:
            self._unread = self._step
        self._step = None

    def streaming(self, transcript: Transcript, asked: Mapping[str, Any]) -> None:
        """The deployment's answer has begun. `asked`: what may make it longer than what it shows, `unseen.kept`."""
        self.transcript = transcript
        self._asked = asked

    def answered(
        self, said: Mapping[str, Any] | None, transcript: Transcript | None = None, *, early: bool = False
    ) -> None:
        """The deployment tried last has answered. `said`: its usage, None or empty where it did not say; `transcript`:
        its text, which is counted for what the usage lacks; `early`: the answer was left, or broke off."""
        self._answered = True
        self._costed = None
        self._early = early
        self._said = said or None
        if transcript is not None:
            self.transcript = transcript

    def cost(self) -> int | None:
        """Of the answer, in nano-dollars; None where there is no price."""
        return self._came_to()[2]

    async def settle(self, status: int) -> None:
        """Before the end of the answer, so that a client's next request finds its money and its slot free."""
        if not self._closed:
            self._closed = True
            await self._settlements.now(self._report(status))

    async def settle_with_answer(self, status: int) -> list[tuple[str, str]]:
        """As `settle`, of an answer in one piece: the headers that it carries for it."""
        if self._closed:
            return []
        self._closed = True
        return await self._settlements.with_answer(self._report(status))

    def abandon(self, status: int = CLIENT_LEFT) -> None:
        """When the request's task ends: what has not been settled is reported by another task, soon."""
        if not self._closed:
            self._closed = True
            self._settlements.later(self._report(status))

    def _report(self, status: int) -> Report:
        instance = self._instance
        step = self._step = self._step or self._unread
        latency = int((time.monotonic() - self._began) * 1000)
        if step is None:
            return Report(self.id, instance, 0, status=status, latency=latency)
        d = step.target.deployment
        if not self._answered and not self.transcript:
            # Given up before the provider said anything, or what it said could not be read: nobody knows what it made
            # of the request, so all is charged.
            amount, _ = self._size()
            prompt = self._most(self._price()).tokens
            metrics.answered(d.group, d.id, Usage(prompt), amount or 0)
            return Report(self.id, instance, amount or 0, step.group, d.id, status, latency, prompt, estimated=1)
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
        )

    def _came_to(self) -> Came:
        """Worked out once for each answer."""
        costed = self._costed
        if costed is None:
            said = self._said or {}
            used, price = usage(said), self._price()
            units = self._sold(said)
            # Some say at the beginning that there is no answer yet.
            complete = whole(said) and not (self._early and not used.completion)
            # What is paid for by the piece need not say anything of tokens.
            if complete or (units and (price is None or all(unit in price for unit in units))):
                costed = used, False, None if price is None else prices.cost(price, used, self._asked_tier(), units)
            else:
                costed = self._estimated(used, price, units)
            self._costed = costed
        return costed

    def _estimated(self, told: Usage, price: Price | None, units: Mapping[str, int] | None) -> Came:
        """What the usage lacks is estimated: the prompt as it was for the reservation, the answer by its text."""
        most = None if told.prompt else self._most(price)
        completion = told.completion
        if not completion and self.transcript:
            completion = self.transcript.tokens(prices.tokenizer(price))
        step = self._step
        if self._early and step is not None:
            completion = max(completion, hidden_reasoning.output(self._asked, step.target, price) or 0)
        used = told._replace(prompt=most.tokens if most else told.prompt, completion=completion)
        estimated = self._said is None or self._early or used != told
        if price is None:
            return used, estimated, None
        cost = prices.cost(price, used, self._asked_tier(), units)
        if most is not None and most.amount is not None:
            # Parts of a prompt can cost more than plain text does: sound, what goes to a cache.
            cost += max(0, most.amount - prices.cost(price, Usage(used.prompt), self._asked_tier()))
        amount = self._size()[0] if estimated and self.limited else None
        # An estimate need not be over what the request could cost at most.
        return used, estimated, cost if amount is None else min(cost, amount)

    def _most(self, price: Price | None) -> Quote:
        """What the prompt can come to at a deployment with such prices."""
        return quote({"service_tier": self._asked_tier()}, self._size()[1], [("", price)], limits=())

    def _sold(self, said: Mapping[str, Any]) -> Mapping[str, int] | None:
        """The pieces that are paid for; of searches the provider may say how many there were."""
        searches = count(said, "search_units") if self._units and "query" in self._units else 0
        return {"query": searches} if searches else self._units

    def _asked_tier(self) -> Any:
        """The service tier that the deployment was asked for: the request's, else what the config presets."""
        if self.tier is not None or self._step is None:
            return self.tier
        return self._step.target.deployment.presets.get("service_tier")

    def _price(self) -> Price | None:
        """Of the deployment tried last."""
        return None if self._step is None else self._price_book.price(self._step.target)

    def _size(self) -> tuple[int | None, Prompt]:
        """Nano-dollars at most, None where nobody knows the price, and the prompt."""
        if self._prompt is None:
            assert self._measure is not None, "somebody knows the request"
            measured, self._prompt = self._measure()
            self._amount = measured if self._amount is None else self._amount
        return self._amount, self._prompt


class Unaccounted:
    """The reservation of a request that somebody else accounts for."""

    output_limit: int | None = None
    limited = False
    transcript: Transcript | None = None

    def trying(self, step: Try) -> None: ...

    def failed(self, *, unread: bool = False) -> None: ...

    def streaming(self, transcript: Transcript, asked: Mapping[str, Any]) -> None: ...

    def answered(
        self, said: Mapping[str, Any] | None, transcript: Transcript | None = None, *, early: bool = False
    ) -> None: ...

    def cost(self) -> int | None:
        return None

    async def settle(self, status: int) -> None: ...

    async def settle_with_answer(self, status: int) -> list[tuple[str, str]]:
        return []

    def abandon(self, status: int = CLIENT_LEFT) -> None: ...


UNACCOUNTED = Unaccounted()


AnyReservation = Reservation | Unaccounted
