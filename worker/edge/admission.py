"""Billable requests: quoting the maximum cost, admission by the ledger, and forwarding to a container.

Requests whose price is in the catalog are quoted here. Other requests are parked: the body goes to the container, which
quotes the request and holds it until the ledger has admitted it.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pyodide.ffi import JsException

from catalog import CATALOG
from core.api import google
from core.api.endpoints import GOOGLE, Endpoint
from core.api.errors import ApiError, forbidden, model_not_found, refused, service_unavailable
from core.ledger import keys
from core.pricing.quote import Quote, Quoted, Quoter
from core.protocol import (
    ASK_HEADER,
    CATALOG_HEADER,
    ENDING,
    GO_PREFIX,
    GRANT_HEADER,
    INSTANCE_HEADER,
    MASTER,
    NO_INSTANCE_HEADER,
    PARK_PREFIX,
    REFUSAL_HEADER,
    EdgeGrant,
    catalog_of,
    decode_refusal,
    encode_admission,
    grant_of,
)
from core.values.claims import Claims, with_headers
from core.values.money import OutputSteps

from .messages import Client, client_left, configuration, forward, read_body
from .requests import FIRST, can_be_parsed
from .runtime.javascript import error_text, or_none
from .runtime.log import log
from .stubs import AGAIN, Answered, Apart, Instances, LedgerClient, LedgerUnavailable, NoContainer, unavailable

if TYPE_CHECKING:
    from core.identity.authenticator import JwtCaller

# Larger bodies are parked. In workerd, reading a 60 KB body here costs 1.4 ms of CPU more than a small one, and parking
# costs 3.5 ms. Memory sets the limit, because many requests may be waiting for a container to wake.
INLINE_BYTES = 64 * 1024
# Total size of the bodies held here at a time. An isolate has 128 MB for everything.
MOST_HELD_BYTES = 8 * 1024 * 1024
# Bytes of a grant. A container takes 64 KB of headers, the client's among them.
_MOST_GRANT = 48 * 1024
# Of keys whose teams have aliases, and of their aliases.
_MOST_KNOWN, _MOST_ALIASES = 256, 10_000
# The statuses of a container's answer to a JWT that its team may have to do with: a model it may not use, or none.
_NOT_ALLOWED = (403, 404)
# How often a request is quoted if what its model's name stands for changes meanwhile.
_MOST_QUOTES = 3


class Presented(NamedTuple):
    """What a client has presented: a virtual key, a JWT that was verified, the credential of a session for a call of
    the admin API, or none of them: the master key. `renew`: of a JWT with teams, asks the ledger about them again."""

    key_hash: str | None = None
    caller: "JwtCaller | None" = None
    session: dict[str, str] | None = None
    renew: "Callable[[], Awaitable[Presented]] | None" = None

    @property
    def administrator(self) -> bool:
        if self.session is not None:  # the ledger knows
            return False
        return self.key_hash is None and (self.caller is None or self.caller.administrator)

    @property
    def credential(self) -> dict[str, Any] | None:
        """Who makes a call of the admin API, see `core.ledger.callers`. None for operators and for nobody."""
        if self.caller is not None:
            return self.caller.credential
        if self.session is not None:
            return self.session
        return None if self.key_hash is None else {"key": self.key_hash}


class BillableRequest(NamedTuple):
    """`path`: the client's, with its query. `names`: of instances, in order."""

    client: Client
    endpoint: Endpoint
    path: str
    who: Presented
    names: list[str]


class Admission:
    def __init__(self, ledger: LedgerClient, instances: Instances, quoter: Quoter) -> None:
        self._ledger = ledger
        self._instances = instances
        self._quoter = quoter
        self._held = 0
        # By key: what the ledger last said about the aliases that its team has. Every admission checks it.
        self._aliases: dict[str | None, Mapping[str, str]] = {}

    async def authenticate(self, who: Presented, request_id: str) -> EdgeGrant:
        """Returns a grant without a reservation: whose key this is, the models that it may use, and its team's aliases.
        Raises ApiError 401 or 503, and 403 if they have more models and aliases than a header holds."""
        if who.caller is not None:
            return _fits(EdgeGrant(models=who.caller.models, owner=who.caller.owner, aliases=who.caller.aliases))
        key_hash = who.key_hash
        if key_hash is None:
            return EdgeGrant(owner=MASTER)
        try:
            found = await self._ledger.call("authenticate", {"secret_hash": key_hash})
        except LedgerUnavailable as error:
            raise unavailable(error, request_id) from None
        if not found["ok"]:
            raise refused(found)
        aliases = self._remember(key_hash, found.get("aliases", {}))
        models = json.dumps(found["models"])
        return _fits(EdgeGrant(models=models, owner=key_hash, key_id=found.get("key_id", ""), aliases=aliases))

    def _remember(self, key_hash: str | None, aliases: Mapping[str, str]) -> Mapping[str, str]:
        if aliases and (
            len(self._aliases) >= _MOST_KNOWN or sum(map(len, self._aliases.values())) + len(aliases) > _MOST_ALIASES
        ):
            self._aliases.clear()
        if aliases:
            self._aliases[key_hash] = aliases
        elif self._aliases:
            self._aliases.pop(key_hash, None)
        return aliases

    async def answer(self, billable: BillableRequest) -> Any:
        """Returns a JS response. Raises ApiError."""
        length = self._inline_length(billable.client)
        if not length:
            return await self._upload(billable)
        self._held += length
        try:
            buffer = await read_body(billable.client)
            content = buffer.to_bytes()
            model = google.model_of(billable.path) if billable.endpoint.name in GOOGLE else None
            parsed = can_be_parsed(content)
            aliases = self._known_aliases(billable.who)
            quotes = 0
            while True:
                quotes += 1
                quoted = self._quoter.quote(billable.endpoint.name, content, model, aliases) if parsed else None
                try:
                    if quoted is not None:
                        return await self._quoted(billable, quoted, buffer)
                    response, quotable = await self._parked(billable, buffer)
                    again = None if quotable else await self._renewed(billable)
                    if again is None:
                        return response
                    if response.body:
                        await response.body.cancel()
                except _AnotherModel as changed:
                    again = await self._renewed(billable) if quoted is None else None
                    if quotes >= _MOST_QUOTES or (quoted is None and again is None):
                        raise
                    if quoted is not None:
                        aliases = self._learned(billable.who, aliases, quoted, changed.model)
                except _NotAllowed:
                    again = await self._renewed(billable)
                    if again is None:
                        raise
                if again is not None:
                    billable = again
                    aliases = self._known_aliases(billable.who)
        finally:
            self._held -= length

    async def _upload(self, billable: BillableRequest) -> Any:
        """Its body can be sent only once. After a refusal that may be out of date the client's next one is right."""
        try:
            response, quotable = await self._parked(billable)
        except (_AnotherModel, _NotAllowed):
            await self._renewed(billable)
            raise
        if not quotable:
            await self._renewed(billable)
        return response

    async def _renewed(self, billable: BillableRequest) -> BillableRequest | None:
        """Asks about a JWT's teams again, once. Returns None if what was known of them was not out of date."""
        who = billable.who
        if who.renew is None:
            return None
        fresh = await who.renew()
        return None if fresh.caller == who.caller else billable._replace(who=fresh)

    def _known_aliases(self, who: Presented) -> Mapping[str, str] | None:
        if who.caller is not None:
            return who.caller.aliases
        return self._aliases.get(who.key_hash) if self._aliases else None

    def _learned(
        self, who: Presented, aliases: Mapping[str, str] | None, quoted: Quoted, model: str
    ) -> Mapping[str, str]:
        """Returns the aliases, with what the ledger says that the request's model stands for."""
        named = quoted.named or quoted.model
        learned = {name: target for name, target in (aliases or {}).items() if name != named}
        if model != named:
            learned[named] = model
        return learned if who.caller is not None else self._remember(who.key_hash, learned)

    async def _quoted(self, billable: BillableRequest, quoted: Quoted, buffer: Any) -> Any:
        """Raises _AnotherModel or ApiError."""
        if billable.names[0] == FIRST and not self._instances.apart:
            try:
                return await self._admitted_there(billable, quoted, buffer)
            except Apart:
                pass
        instance = self._instances.start_id(billable.names[0])
        grant = await self._admit(billable, quoted, instance)
        return await self._send_inline(grant, billable, billable.names, instance, buffer)

    async def _admitted_there(self, billable: BillableRequest, quoted: Quoted, buffer: Any) -> Any:
        """Sends the request to the ledger object, which admits it and forwards it to its own container.

        Raises Apart, _AnotherModel or ApiError.
        """
        client = billable.client
        quote = quoted.quote
        asked = encode_admission(
            _ask(billable, quoted),
            quote.add_limit,
            _claims(billable, quoted.claims),
            configuration().name,
            _several(quote.steps),
            quoted.candidates,
        )
        added = [(ASK_HEADER, asked)]
        try:
            response, status = await self._instances.ask(
                lambda fetch: forward(fetch, client, billable.path, added, buffer), client
            )
        except LedgerUnavailable as error:
            raise unavailable(error, client.id) from None
        if status == 403:
            refusal = or_none(response.headers.get(REFUSAL_HEADER))
            if refusal is not None:
                raise _refused(decode_refusal(refusal))
        elif status == 503:
            why = or_none(response.headers.get(NO_INSTANCE_HEADER))
            if why is not None:
                return await self._sent_elsewhere(billable, response.headers, why, buffer)
        return response

    async def _sent_elsewhere(self, billable: BillableRequest, headers: Any, why: str, buffer: Any) -> Any:
        """Forwards a request that the ledger admitted but its own container could not serve. `why`: the value of
        NO_INSTANCE_HEADER."""
        grant = _grant(EdgeGrant.decode(headers.get(GRANT_HEADER)))
        names = billable.names[1:]
        if why in AGAIN:
            names = [FIRST, *names]
        elif why == ENDING:
            names = self._instances.besides(FIRST, names)
        if not names:
            await self._release(grant.id, billable.client.id)
            raise NoContainer(float(headers.get("retry-after")))
        return await self._send_inline(grant, billable, names, headers.get(INSTANCE_HEADER), buffer)

    async def _send_inline(
        self, grant: "_Grant", billable: BillableRequest, names: list[str], instance: str, buffer: Any
    ) -> Any:
        """`instance`: the start id of the container that the request was admitted for."""
        added = [*grant.headers, (INSTANCE_HEADER, instance)]
        return await self._send(
            grant,
            billable,
            names,
            lambda fetch: forward(fetch, billable.client, billable.path, added, buffer),
            again=True,
        )

    def _inline_length(self, client: Client) -> int:
        """Returns the size of the body in bytes, or 0 if it must not be read here."""
        headers = client.headers
        length = int(headers.get("content-length", "0"))
        if length > INLINE_BYTES or self._held + length > MOST_HELD_BYTES:
            return 0
        if "content-encoding" in headers or headers.get("content-type", "").lower().startswith("multipart/"):
            return 0
        return length

    async def _parked(self, billable: BillableRequest, *read: Any) -> tuple[Any, bool]:
        """Parks the request, then admits it. Returns the response, and False if the container refused to quote it for a
        model that a JWT's teams have to do with. `read`: the body, if it has been read."""
        client = billable.client
        added = [(GRANT_HEADER, (await self.authenticate(billable.who, client.id)).encode())]
        parked = await self._instances.answer(
            lambda fetch: forward(fetch, client, PARK_PREFIX + billable.path, added, *read),
            billable.names,
            client,
            again=bool(read),
        )
        if parked.response.status != 200:
            return parked.response, parked.response.status not in _NOT_ALLOWED
        said = json.loads(await parked.response.text())
        try:
            quote = Quote(said["amount"], said["tokens"], said["add_limit"], said["unpriced"], said.get("steps", ()))
            claimed = Claims(said.get("tags", ""), said.get("end_user", ""))
            quoted = Quoted(said["model"], quote, claimed, said.get("candidates", ()), said.get("named", ""))
            grant = await self._admit(billable, quoted, parked.instance, said.get("fallbacks", ()))
        except ApiError:
            await self._forget(billable, parked, said["id"])
            raise
        going = [*grant.headers, (INSTANCE_HEADER, parked.instance)]
        served = await self._send(
            grant, billable, [parked.name], lambda fetch: forward(fetch, client, GO_PREFIX + said["id"], going, None)
        )
        return served, True

    async def _admit(
        self, billable: BillableRequest, quoted: Quoted, instance: str, fallbacks: Sequence[Sequence[str]] = ()
    ) -> "_Grant":
        """Raises _AnotherModel, _NotAllowed, or another ApiError if the ledger refuses or is unavailable, or if its
        word does not fit `fallbacks`: the client's names for those that the request has, and what they stand for."""
        quote = quoted.quote
        ask = _ask(billable, quoted)
        claimed = _claims(billable, quoted.claims)
        more = {"steps": _several(quote.steps), "without_limit": quote.add_limit is not None, "tags": claimed.tags}
        if claimed.end_user:
            ask = {"end_user": claimed.end_user, **ask}
        if quoted.candidates:
            more["candidates"] = quoted.candidates
        try:
            result = await self._ledger.admit({**ask, "instance": instance, **more}, configuration())
        except LedgerUnavailable as error:
            await self._release(ask["id"], billable.client.id)  # it may have been admitted anyway
            raise unavailable(error, billable.client.id) from None
        if not result["ok"]:
            raise _refused(result)
        if fallbacks:
            try:
                _check_fallbacks(billable.who, quoted, fallbacks, result)
            except ApiError:  # its id is used up, so it is not tried again here
                await self._release(ask["id"], billable.client.id)
                await self._renewed(billable)
                raise
        return _grant(grant_of(ask, result, quote.add_limit))

    async def _send(
        self, grant: "_Grant", billable: BillableRequest, names: list[str], make: Any, *, again: bool = False
    ) -> Any:
        """Forwards an admitted request. If it certainly reached no container, its reservation is released."""
        if billable.client.left:
            await self._release(grant.id, billable.client.id)
            raise client_left()
        try:
            return (await self._instances.answer(make, names, billable.client, again=again)).response
        except NoContainer as error:
            if not error.sent:
                await self._release(grant.id, billable.client.id)
            raise

    async def _release(self, id: str, request_id: str) -> None:
        report = [id, "", 0, "", "", 503]
        try:
            await self._ledger.call("report", {"instance": "", "reports": [report], "renew": []})
        except LedgerUnavailable as error:
            # The reservation is charged in full when its lease expires.
            log("error", "ledger_not_released", request_id=request_id, reservation=id, reason=str(error))

    async def _forget(self, billable: BillableRequest, parked: Answered, id: str) -> None:
        try:
            await self._instances.forget(parked.name, f"{PARK_PREFIX}/{id}", billable.client.id)
        except JsException as error:
            # The container drops it by itself after a while.
            log("warning", "park_not_forgotten", request_id=billable.client.id, reason=error_text(error))


def _several(steps: OutputSteps) -> OutputSteps:
    """Returns no steps if there is only one: then the output limit cannot be lowered."""
    return steps if len(steps) > 1 else ()


def _claims(billable: BillableRequest, claimed: Claims) -> Claims:
    """Returns what the body claims, and the headers. The container does not get LiteLLM's headers."""
    return with_headers(claimed, billable.client.headers, CATALOG["user_headers"])


class _AnotherModel(ApiError):
    """The request has to be quoted for `model` instead: that is what its model's name stands for now. To a client, a
    503."""

    def __init__(self, refused: ApiError, model: str) -> None:
        super().__init__(refused.status, refused.type, refused.message, code=refused.code, headers=refused.headers)
        self.model = model


def _refused(result: Mapping[str, Any]) -> ApiError:
    model = result.get("aliased")
    return refused(result) if model is None else _AnotherModel(refused(result), model)


class _NotAllowed(ApiError):
    """A 403. What is known of a JWT's teams may be out of date."""

    def __init__(self, message: str) -> None:
        error = forbidden(message)
        super().__init__(error.status, error.type, error.message, code=error.code, headers=error.headers)


def _check_fallbacks(
    who: Presented, quoted: Quoted, fallbacks: Sequence[Sequence[str]], result: Mapping[str, Any]
) -> None:
    """Raises ApiError 403, 404 or 503 if what the ledger says no longer fits the fallbacks, which it does not see."""
    aliases, models = result.get("aliases", {}), result["models"]
    if who.caller is not None:
        models = who.caller.payer(quoted.named or quoted.model)[1]
    for name, target in fallbacks:
        if not keys.allows(models, name):
            raise forbidden(f"This key may not use the model '{name[:200]}'.")
        if aliases.get(name, name) != target:
            if who.caller is not None and aliases == who.caller.aliases_with(quoted.named or quoted.model):
                if name not in CATALOG["models"]:  # it is another team's, and alone it is an unknown name, too
                    raise model_not_found(name, CATALOG["models"])
                raise forbidden(f"The team that pays for this JWT has no model '{name[:200]}'.")
            raise service_unavailable("A model alias has just changed. Try again.", 1)


def _fits(grant: EdgeGrant) -> EdgeGrant:
    """Raises ApiError 403 if the container would not take its header."""
    if len(grant.encode()) > _MOST_GRANT:
        raise forbidden(
            f"The models and aliases of this key or JWT exceed {_MOST_GRANT // 1024} KB; use patterns with '*'."
        )
    return grant


def _ask(billable: BillableRequest, quoted: Quoted) -> dict[str, Any]:
    """Returns the fields of `ledger.admit.AdmissionRequest` except instance, lease, tags, steps and without_limit.

    Raises _NotAllowed, see `_payer`. An older object does not know its fields, and refuses the request.
    """
    client, quote, named = billable.client, quoted.quote, quoted.named
    return {
        "id": client.own_id,
        "request_id": client.named or "",
        "secret_hash": billable.who.key_hash,
        "model": quoted.model,
        **({"named": named} if named else {}),
        "endpoint": billable.endpoint.name,
        "amount": quote.amount,
        "tokens": quote.tokens,
        "unpriced": quote.unpriced,
        **({} if billable.who.caller is None else _payer(billable.who.caller, named or quoted.model)),
    }


def _payer(caller: "JwtCaller", model: str) -> dict[str, str]:
    """Returns who pays without a virtual key. Raises _NotAllowed if the JWT may not use the model."""
    team_id, models = caller.payer(model)
    if not keys.allows(models, model):
        raise _NotAllowed(f"This JWT may not use the model '{model[:200]}'.")
    end_user = {"end_user": caller.end_user} if caller.end_user else {}  # precedes what the client says
    return {"user_id": caller.user_id, "team_id": team_id, **end_user}


class _Grant(NamedTuple):
    """A reservation's id and the headers with the grant for the container."""

    id: str
    headers: list[tuple[str, str]]


def _grant(grant: EdgeGrant) -> _Grant:
    return _Grant(
        grant.reservation,
        [(GRANT_HEADER, grant.encode()), (CATALOG_HEADER, catalog_of(CATALOG["hash"], grant))],
    )
