"""Admission and settlement for the standalone proxy, on any ledger store."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from worker.core.api.errors import ApiError, refused, service_unavailable, unauthenticated
from worker.core.ledger import owners
from worker.core.ledger.accounts import Policy
from worker.core.ledger.admit import ALIAS_CHANGED, AdmissionRequest
from worker.core.ledger.decision import Decision, Dialect
from worker.core.pricing.estimate import Prompt, prompt
from worker.core.pricing.prices import Charge
from worker.core.pricing.quote import Quote
from worker.core.values.claims import NO_CLAIMS, Claims

from ..observability import log
from ..routing.router import RouteRequest
from ..server.auth import check_models
from ..server.context import RequestContext
from ..stores import LedgerUnavailable
from .ledger import LEASE_MS, Ledger, milliseconds
from .reservation import UNACCOUNTED, PriceBook, Reservation, Unaccounted

_MOST_KNOWN = 10_000
# Of a body in chunks.
_UNKNOWN_BYTES = 1024 * 1024
_NO_ALIASES: Mapping[str, str] = {}
_UNAVAILABLE = "The ledger cannot be used now, so nothing can be paid for. Try again in a moment."


class Accounting:
    """Admits requests against the ledger, under one configuration: its limits and its prices."""

    def __init__(self, ledger: Ledger, policy: Policy, price_book: PriceBook) -> None:
        self.policy = policy
        self.ledger = ledger
        self._price_book = price_book
        self._known: dict[str, _Known] = {}

    @property
    def dialect(self) -> Dialect:
        return self.ledger.dialect

    @property
    def unsettled(self) -> int:
        """Number of reports that are not in the ledger yet."""
        return self.ledger.unsettled

    @property
    def open(self) -> int:
        """Number of this process's reservations that are not settled."""
        return self.ledger.open

    async def usable(self) -> bool:
        """Whether the ledger can pay for requests now."""
        return await self.ledger.usable()

    async def run(self, make: Callable[..., Decision], *arguments: Any, **named: Any) -> Any:
        """Run a decision, as `Ledger.run`. Raises LedgerUnavailable."""
        return await self.ledger.run(make, *arguments, **named)

    async def authenticate(self, context: RequestContext) -> None:
        """Look up the virtual key of the request. Raises ApiError 401 or 503."""
        assert context.key_hash is not None, "no key to look up"
        try:
            found = await self.ledger.authenticate(context.key_hash)
        except LedgerUnavailable as error:
            raise _unavailable(error) from None
        if not found["ok"]:
            self._known.pop(context.key_hash, None)
            raise refused(found)
        context.models, context.key_id = json.dumps(found["models"]), found["key_id"]
        context.aliases = found.get("aliases", _NO_ALIASES)
        context.key_verified()

    async def find_owners(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Run `owners.of_token` with these arguments. Raises ApiError 503."""
        try:
            return await self.ledger.run(owners.of_token, **asked, now=milliseconds())
        except LedgerUnavailable as error:
            raise _unavailable(error) from None

    def assume_cached_key(self, context: RequestContext) -> bool:
        """Assume that a key is still valid if it was valid a moment ago. Return whether it was.

        Admission will check it. Until then `context.key_assumed` is set.
        """
        known = self._known.get(context.key_hash or "")
        if known is None:
            return False
        context.models, context.key_id, context.key_assumed = known.models, known.key_id, True
        context.aliases = known.aliases
        return True

    async def admit(
        self,
        context: RequestContext,
        endpoint: str,
        body: Mapping[str, Any],
        route: RouteRequest,
        charge: Charge,
        *,
        estimated: Prompt | None = None,
        claims: Claims = NO_CLAIMS,
    ) -> Reservation | Unaccounted:
        """Reserve the maximum cost of the request and add the key's limits to the response headers. Raises ApiError.

        `estimated`: the prompt, if it is not in `body`. `claims`: the request's tags and end user.
        """
        payer = _payer(context, route)
        check_models(context, route)

        def quoted() -> tuple[Quote, Prompt]:
            size = estimated or prompt(body)
            return self._price_book.quote(body, size, route, charge), size

        def measure() -> tuple[int | None, Prompt]:
            quote, size = quoted()
            return quote.amount, size

        secret = context.key_hash
        name = secret or payer.name
        known = self._known.get(name) if name else None
        limited = known.limited if known else self.policy.everyone.max_budget is not None
        candidates = self._price_book.candidates(route)
        quote, size = quoted() if limited or candidates else (None, None)
        id, named = context.reservation()
        bytes = context.request.content_length or _UNKNOWN_BYTES

        def request() -> AdmissionRequest:
            asked = self._request(id, named, secret, endpoint, route, quote, claims, payer)
            return asked._replace(candidates=candidates) if candidates else asked

        result = await self._decided(request(), bytes)
        if "unsized" in result:  # a limit was added a moment ago
            quote, size = quoted()
            result = await self._decided(request(), bytes)
        if "aliased" in result:  # what is remembered of the key is out of date
            self._known.pop(name, None)
            raise refused(result)
        context.key_verified()
        if not result["ok"]:
            self._known.pop(name, None)
            raise refused(result)
        limited = result["limited"]
        most_output = result.get("output_limit")
        if quote and most_output is not None:
            quote = quote._replace(amount=result["amount"], add_limit=most_output if quote.add_limit else None)
        context.key_alias = result["key_alias"]
        reservation = context.reservation_made = Reservation(
            id,
            self._price_book,
            self.ledger,
            self.ledger.instance,
            amount=quote.amount if quote else None,
            prompt=size,
            output_limit=quote.add_limit if quote and limited else None,
            most_output=most_output,
            limited=limited,
            exhausted=frozenset(result.get("exhausted", ())),
            measure=measure,
            tier=body.get("service_tier"),
            units=charge.units,
        )
        aliases = result.get("aliases", _NO_ALIASES)
        if name:
            self._remember(name, _Known(result["models"], limited, result["key_id"], aliases))
        if secret:
            if context.key_id != result["key_id"]:
                context.key_id = result["key_id"]
                if context.unsealed:  # with the id of a deleted key that had the same secret
                    reservation.abandon(503)
                    raise service_unavailable("This API key has just been replaced. Try again.", retry_after=1)
            if context.models != result["models"] or context.aliases != aliases:
                context.models, context.aliases = result["models"], aliases
                try:
                    check_models(context, route)  # the request's own fallbacks, which the ledger does not see
                    _check_aliases(route, aliases)
                except ApiError as error:
                    reservation.abandon(error.status)
                    raise
        elif payer.team_id and route.fallbacks:
            try:
                _check_aliases(route, aliases)
            except ApiError as error:
                reservation.abandon(error.status)
                raise
        if name and result["headers"]:
            context.always = [*context.always, *map(tuple, result["headers"])]
        return reservation

    def _request(
        self,
        id: str,
        named: str,
        secret: str | None,
        endpoint: str,
        route: RouteRequest,
        quote: Quote | None,
        claims: Claims,
        payer: "_Payer",
    ) -> AdmissionRequest:
        model, instance, alias = route.model, self.ledger.instance, route.alias
        if quote is None:
            return AdmissionRequest(
                id,
                secret,
                model,
                endpoint,
                0,
                0,
                instance,
                LEASE_MS,
                sized=False,
                request_id=named,
                tags=claims.tags,
                user_id=payer.user_id,
                team_id=payer.team_id,
                end_user=payer.end_user or claims.end_user,
                named=alias,
            )
        return AdmissionRequest(
            id,
            secret,
            model,
            endpoint,
            quote.amount,
            quote.tokens,
            instance,
            LEASE_MS,
            quote.unpriced,
            request_id=named,
            tags=claims.tags,
            steps=quote.steps if len(quote.steps) > 1 else (),
            without_limit=quote.add_limit is not None,
            user_id=payer.user_id,
            team_id=payer.team_id,
            end_user=payer.end_user or claims.end_user,
            named=alias,
        )

    async def _decided(self, request: AdmissionRequest, size: int) -> dict[str, Any]:
        """Return the ledger's result, see `Ledger.admit`. Raises ApiError 503."""
        try:
            return await self.ledger.admit(request, size)
        except LedgerUnavailable as error:
            raise _unavailable(error) from None

    def _remember(self, secret: str, known: "_Known") -> None:
        if self._known.get(secret) != known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[secret] = known


def _unavailable(error: LedgerUnavailable) -> ApiError:
    log.debug("ledger_unavailable", reason=str(error))
    return service_unavailable(_UNAVAILABLE)


class _Known(NamedTuple):
    """What the ledger said about a key at its latest admission. It may have changed since."""

    models: str
    limited: bool
    key_id: str
    aliases: Mapping[str, str]


class NoAccounting:
    """Used without a ledger: every request is free, and virtual keys are unknown."""

    async def usable(self) -> bool:
        return True

    async def authenticate(self, context: RequestContext) -> None:
        raise unauthenticated("This API key is not valid here.")

    def assume_cached_key(self, context: RequestContext) -> bool:
        return False

    async def admit(self, context: RequestContext, *_: Any, **__: Any) -> Reservation | Unaccounted:
        if context.key_hash is not None:  # there is no ledger that could know the key
            raise unauthenticated("This API key is not valid here.")
        return UNACCOUNTED


class _Payer(NamedTuple):
    """Who pays without a virtual key, nobody in particular for the master key; see `AdmissionRequest`."""

    user_id: str = ""
    team_id: str = ""
    end_user: str = ""

    @property
    def name(self) -> str:
        return f"{self.user_id} {self.team_id}" if self.user_id or self.team_id else ""


_NOBODY = _Payer()


def _payer(context: RequestContext, route: RouteRequest) -> _Payer:
    """With a JWT of several teams, the model decides which of them pays, and with it which models may be used.

    Raises ApiError 401 for a JWT that nobody has verified, so that it never counts as the master key.
    """
    caller = context.caller
    if context.token is not None or (caller and not (caller.administrator or caller.user_id or caller.teams)):
        raise unauthenticated("This JWT is not valid here.")
    if caller is None:
        return _NOBODY
    team_id, context.models = caller.payer(route.names[0])
    return _Payer(caller.user_id, team_id, caller.end_user)


def _check_aliases(route: RouteRequest, aliases: Mapping[str, str]) -> None:
    """Raises ApiError 503 if a name stands for another model than the one that the request would be sent to."""
    if route.resolved(aliases) != route:
        error = service_unavailable("A model alias has just changed. Try again.", retry_after=1)
        error.code = ALIAS_CHANGED
        raise error
