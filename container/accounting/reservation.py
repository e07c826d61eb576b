"""One request's reservation, and what became of the request."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from worker.ledger import prices
from worker.ledger.estimate import Prompt
from worker.ledger.prices import Price
from worker.ledger.settle import Report
from worker.ledger.usage import Usage, usage, whole

from .. import metrics
from ..routing.router import Try
from .tariff import Tariff
from .transcript import Transcript

CLIENT_LEFT = 499


class Reports(Protocol):
    """Where it is told what became of a request."""

    async def now(self, report: Report) -> None:
        """Before the end of the answer."""

    def later(self, report: Report) -> None:
        """Soon, whatever happens to the request's task."""


Measure = Callable[[], tuple[int | None, Prompt]]


class Reservation:
    """`amount`: nano-dollars set aside, None where nobody knew the price; `prompt`: what it is made of. Where no
    limit applied nobody had to know it (`prompt` is None), and `measure` works both out if they are wanted after all.
    `output_limit`: what the request has to be sent with, None where it has a limit or needs none; `limited`: a budget
    or a limit on tokens applies, so that no limit may be dropped on the way."""

    __slots__ = (
        "_amount",
        "_answered",
        "_began",
        "_closed",
        "_costed",
        "_instance",
        "_measure",
        "_prompt",
        "_said",
        "_settlements",
        "_step",
        "_tariff",
        "_units",
        "id",
        "limited",
        "output_limit",
        "tier",
        "transcript",
    )

    def __init__(
        self,
        id: str,
        tariff: Tariff,
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
        self._tariff = tariff
        self._settlements = settlements
        self._instance = instance
        self._closed = False
        self._costed: tuple[Usage, bool, int | None] | None = None
        self._units = units
        self._began = time.monotonic()
        self._step: Try | None = None
        self._answered = False
        self._said: Mapping[str, Any] | None = None

    def trying(self, step: Try) -> None:
        """The request goes to a deployment now: until that fails it may cost money."""
        self._step = step
        self.transcript = None
        self._answered = False
        self._costed = None

    def failed(self) -> None:
        """The deployment answered nothing that it could charge for."""
        self._step = None

    def answered(self, said: Mapping[str, Any] | None, transcript: Transcript | None = None) -> None:
        """The deployment tried last has answered. `said`: its usage, None or empty where it did not say; `transcript`:
        its text, which is counted for what the usage lacks."""
        self._answered = True
        self._costed = None
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

    def abandon(self, status: int = CLIENT_LEFT) -> None:
        """When the request's task ends: what has not been settled is reported by another task, soon."""
        if not self._closed:
            self._closed = True
            self._settlements.later(self._report(status))

    def _report(self, status: int) -> Report:
        instance = self._instance
        step = self._step
        latency = int((time.monotonic() - self._began) * 1000)
        if step is None:
            return Report(self.id, instance, 0, status=status, latency=latency)
        d = step.target.deployment
        if not self._answered and not self.transcript:
            # Given up before the provider said anything: nobody knows what it made of the request, so all is charged.
            amount, size = self._size()
            prompt = size.tokens(prices.tokenizer(self._price()))
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

    def _came_to(self) -> tuple[Usage, bool, int | None]:
        """What was used, whether that is our estimate, and its cost, None where there is no price; worked out once for
        each answer."""
        if self._costed is None:
            used, estimated = self._usage()
            self._costed = used, estimated, self._charge(used, estimated=estimated)
        return self._costed

    def _charge(self, used: Usage, *, estimated: bool) -> int | None:
        price = self._price()
        if price is None:
            return None
        cost = prices.cost(price, used, self.tier, self._units)
        # An estimate need not be over what the request could cost at most.
        if not estimated or not self.limited:
            return cost
        amount, _ = self._size()
        return cost if amount is None else min(cost, amount)

    def _usage(self) -> tuple[Usage, bool]:
        """What was used, and whether that is our estimate."""
        used = usage(self._said) if self._said else Usage()
        # What is paid for by the piece need not say anything of tokens.
        if self._units or (self._said and whole(self._said)):
            return used, False
        tokenizer = prices.tokenizer(self._price())
        told = self._said is not None and used.prompt > 0
        prompt = used.prompt if told else self._size()[1].tokens(tokenizer)
        completion = used.completion or (self.transcript.tokens(tokenizer) if self.transcript else 0)
        counted = used._replace(prompt=prompt, completion=completion)
        return counted, self._said is None or counted != used

    def _price(self) -> Price | None:
        """Of the deployment tried last."""
        return None if self._step is None else self._tariff.price(self._step.target)

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

    def failed(self) -> None: ...

    def answered(self, said: Mapping[str, Any] | None, transcript: Transcript | None = None) -> None: ...

    def cost(self) -> int | None:
        return None

    async def settle(self, status: int) -> None: ...

    def abandon(self, status: int = CLIENT_LEFT) -> None: ...


UNACCOUNTED = Unaccounted()
