"""Stored responses: what a request refers to, where it must be sent, and which ids its response gets.

A provider that stores responses keeps them in its own account, which all keys share; clients get sealed ids of them.
For all other providers the gateway keeps the response itself, encrypted, if it has a ledger.
"""

import asyncio
import base64
import os
import re
import zlib
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from worker.core.api.errors import ApiError, invalid_request, service_unavailable
from worker.core.ledger import kept_responses as decisions
from worker.core.ledger.decision import Decision, Dialect
from worker.core.ledger.keys import new_id
from worker.core.pricing.estimate import Prompt, is_reference, prompt
from worker.core.pricing.prices import LEAST_OF_RESPONSES, image_tokens
from worker.core.pricing.usage import Usage, usage
from worker.core.shared_settings import derived

from ..accounting.reservation import AnyReservation
from ..config.deployment import Deployment, tokenizer
from ..config.document import REFERENCE
from ..formats.client_apis.responses import STORING
from ..formats.shared.events import payload, split
from ..formats.shared.wire import Answer, Plain, Stream
from ..observability import log
from ..request.client_apis import RESPONSES
from ..request.completion import Completion
from ..request.stored_input import (
    KEPT,
    PREVIOUS,
    Seal,
    SealedId,
    StoredInput,
    for_provider,
    group_of,
    item_not_found,
    items_not_found,
    opened,
    place_of,
    previous_not_found,
    without_references,
)
from ..routing.health import Outcome
from ..routing.router import Router, Target, Try
from ..server.context import ANONYMOUS, RequestContext
from ..stores import LedgerUnavailable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM


DAY_MS = 86_400_000
_BYTES_PER_MB = 1024 * 1024
_NONCE_BYTES = 12
# Larger content is processed in a thread.
_LARGE = 16 * 1024
# Smaller content is not worth compressing.
_SMALL = 512
# A single response may take this share of what its owner may keep.
_SHARE = 4

Run = Callable[..., Awaitable[Any]]
Object = dict[str, Any]


class Kept(NamedTuple):
    """A response and its input items, both with their own ids."""

    response: Object
    input: list[Object]


class KeptResponses:
    """`run` executes a decision on the ledger, in `dialect`, as `Ledger.run`. `secret`: in hexadecimal. `megabytes`:
    for each owner. `now` returns milliseconds since 1970."""

    def __init__(
        self, run: Run, dialect: Dialect, secret: str, *, days: float, megabytes: float, now: Callable[[], int]
    ) -> None:
        self._run = run
        self._dialect = dialect
        self._secret = derived(bytes.fromhex(secret), b"kept", 32)
        self._kept_ms = int(days * DAY_MS)
        self._most = int(megabytes * _BYTES_PER_MB)
        self._now = now
        self._known: AESGCM | None = None

    async def keep(self, id: str, owner: str, kept: Kept) -> bool:
        """Return whether the response was kept. It is not if it is too large or nested too deeply, or if the ledger is
        unavailable."""
        try:
            raw = [orjson.dumps(part) for part in kept]
        except orjson.JSONEncodeError:
            return False
        if sum(map(len, raw)) > _LARGE:
            content = await asyncio.to_thread(lambda: [self._encrypted(part, owner, id) for part in raw])
        else:
            content = [self._encrypted(part, owner, id) for part in raw]
        if sum(map(len, content)) > self._most // _SHARE:
            return False
        now = self._now()
        both = content[0], content[1]
        try:
            done = await self._run(decisions.keep, self._dialect, id, owner, both, now, now + self._kept_ms, self._most)
        except LedgerUnavailable as error:
            log.warning("response_not_kept", reason=str(error))
            return False
        return done["kept"]

    async def response(self, id: str, owner: str) -> Object | None:
        """Return the response, or None. Raises ApiError 503."""
        found = await self._found(id, owner)
        return None if found is None else await self._decrypted(found[0], owner, id)

    async def whole(self, id: str, owner: str) -> Kept | None:
        """Return the response and its input, or None. Raises ApiError 503."""
        found = await self._found(id, owner)
        if found is None:
            return None
        response, given = [await self._decrypted(part, owner, id) for part in found]
        return None if response is None or given is None else Kept(response, given)

    async def forget(self, id: str, owner: str) -> bool:
        """Return whether the owner had such a response. Raises ApiError 503."""
        return (await self._asked(decisions.forget, id, owner, self._now()))["deleted"]

    async def _found(self, id: str, owner: str) -> tuple[str, str] | None:
        return (await self._asked(decisions.find, id, owner, self._now()))["content"]

    async def _asked(self, make: Callable[..., Decision], *arguments: Any) -> Any:
        try:
            return await self._run(make, *arguments)
        except LedgerUnavailable:
            raise service_unavailable("The ledger cannot be used now. Try again in a moment.") from None

    @property
    def _cipher(self) -> "AESGCM":
        if self._known is None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # imported on first use

            self._known = AESGCM(self._secret)
        return self._known

    def _encrypted(self, raw: bytes, owner: str, id: str) -> str:
        """The first byte of the plain text says whether the rest is compressed."""
        plain = b"\1" + zlib.compress(raw, 1) if len(raw) >= _SMALL else b"\0" + raw
        nonce = os.urandom(_NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, plain, f"{owner}/{id}".encode())).decode()

    async def _decrypted(self, text: str, owner: str, id: str) -> Any:
        """Return None if the secret has changed since."""

        def work() -> Any:
            from cryptography.exceptions import InvalidTag

            data = base64.b64decode(text)
            try:
                plain = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], f"{owner}/{id}".encode())
            except InvalidTag:
                return None
            return orjson.loads(zlib.decompress(plain[1:]) if plain[:1] == b"\1" else plain[1:])

        return await asyncio.to_thread(work) if len(text) > _LARGE else work()


ENDPOINTS = frozenset(("responses", "compact", "input_tokens"))
# A request may refer to items of this many kept responses.
_MOST_KEPT = 256
_MOST_KNOWN = 10_000
# The tokens that a chat template may add around what is referred to.
_AROUND = 16
# What providers say of a response or an item that they do not have (any more).
_PREVIOUS, _ITEM = (
    re.compile("previous response .*not found", re.I | re.S),
    re.compile("item with id .*not found", re.I | re.S),
)
_PREFIXES = {"message": "msg", "function_call": "fc", "reasoning": "rs", "custom_tool_call": "ctc"}


class ResponseState:
    """`seal` is None if ids cannot be protected; then nothing is stored. `kept` is None without a ledger."""

    def __init__(
        self, deployments: Iterable[Deployment], router: Router, seal: Seal | None, kept: KeptResponses | None
    ) -> None:
        self.seal = seal
        self.kept = kept
        self._router = router
        self._places: dict[str, bytes] = {}  # by deployment id
        self._deployments: dict[bytes, Deployment] = {}
        self._accounts: dict[str, frozenset[str]] = {}  # by deployment id: the deployments with the same account
        self._totals: OrderedDict[tuple[bytes, str | bytes], int] = OrderedDict()
        self._index(deployments)

    def _index(self, deployments: Iterable[Deployment]) -> None:
        names: Counter[str] = Counter()
        accounts: dict[Any, set[str]] = {}
        for d in deployments:
            name = _stable_name(d)
            names[name] += 1
            place = place_of(f"{name}#{names[name]}")
            self._places[d.id], self._deployments[place] = place, d
            accounts.setdefault(_account(d), set()).add(d.id)
        for ids in accounts.values():
            self._accounts.update(dict.fromkeys(ids, frozenset(ids)))

    def deployment(self, place: bytes) -> Deployment | None:
        return self._deployments.get(place)

    def resolve(self, context: RequestContext, request: Completion) -> Prompt | None:
        """Open the ids in a request and restrict its route to the account that has them.

        Return the size of its prompt if that is not in the request alone. Raises ApiError 400 or 404.
        """
        body = request.body
        found = request.stored = opened(body, self.seal, context.holder)
        found.keeps = self.kept is not None and context.holder != ANONYMOUS and request.endpoint == RESPONSES
        request.stores = self.seal is not None and body.get("store") is not False
        context.unsealed = context.unsealed or bool(found.ids)
        places = found.places - {KEPT}
        if KEPT in found.places and self.kept is None:
            raise self._missing(found)
        if not places:
            return self.size(request)
        owners = [self._deployments.get(place) for place in places]
        accounts = {self._accounts[d.id] for d in owners if d is not None}
        if None in owners:
            raise self._missing(found)
        if len(accounts) > 1:
            raise invalid_request("The request refers to responses of different providers.", param=PREVIOUS)
        (only,) = accounts
        request.route = request.route._replace(only=only)
        if not self._targets(request):
            raise invalid_request(
                f"The model '{request.model}' has no access to the responses that the request refers to: another "
                "provider has them. Use the model that made them, or send the conversation itself.",
                param="model",
            )
        return self.size(request)

    def _targets(self, request: Completion) -> list[Target]:
        names = [request.route.model, *self._router.fallbacks(request.route, "fallbacks")]
        return [t for name in names for t in self._router.targets(name, request.route)]

    def size(self, request: Completion) -> Prompt | None:
        """Return the size of the prompt with everything that the provider adds, None if it adds nothing."""
        found = request.stored or StoredInput()
        added = [what for what in (*found.needed, *found.thoughts) if what.place != KEPT]
        if not added:
            return None
        size = prompt(without_references(request.body, found))
        bound = self._bound(found) if self._count_alike(added, self._targets(request)) else None
        if bound is None:
            return size._replace(unbounded=(*size.unbounded, PREVIOUS))
        return size._replace(fixed=size.fixed + bound + _AROUND * len(added))

    def _count_alike(self, added: list[SealedId], targets: list[Target]) -> bool:
        """Whether the tokens of what is added are about the same for all models that may read it."""
        made_by = (self._deployments.get(what.place) for what in added)
        counted = {_counting(d, d.model) for d in made_by if d is not None}
        return len(counted | {_counting(t.deployment, t.model) for t in targets}) == 1

    async def load(self, context: RequestContext, request: Completion) -> bool:
        """Replace references to kept responses by their items. Return whether there were any: then the prompt has
        another size. Raises ApiError 400, 404 or 503."""
        found = request.stored
        if found is None or KEPT not in found.places:
            return False
        if len({row_of(what) for what in found.needed if what.place == KEPT}) > _MOST_KEPT:
            raise invalid_request(f"The request refers to more than {_MOST_KEPT} responses.", param="input")
        owner, body = context.holder, request.body
        given = body.get("input")
        items = [{"role": "user", "content": given}] if isinstance(given, str) else list(given or ())
        loaded: dict[str, dict[str, Any]] = {}
        made = []
        for item in items:
            what = found.ids.get(str(item.get("id"))) if isinstance(item, dict) and is_reference(item) else None
            made.append(await self._item(what, str(item["id"]), owner, loaded) if what and what.place == KEPT else item)
        previous = found.previous
        if previous is not None and previous.place == KEPT:
            text = body.pop(PREVIOUS)
            kept = None if self.kept is None else await self.kept.whole(row_of(previous), owner)
            if kept is None:
                raise previous_not_found(text)
            made = [*kept.input, *kept.response["output"], *made]
        body["input"] = made
        return True

    async def _item(self, what: SealedId, text: str, owner: str, loaded: dict[str, dict[str, Any]]) -> dict[str, Any]:
        id, row = what.id.rpartition("/")[0], row_of(what)
        if row not in loaded and self.kept is not None:
            response = await self.kept.response(row, owner)
            loaded[row] = {item.get("id"): item for item in (response or {}).get("output", ())}
        item = loaded.get(row, {}).get(id)
        if item is None and self.kept is not None:
            kept = await self.kept.whole(row, owner)
            item = next((one for one in (kept.input if kept else ()) if one.get("id") == id), None)
        if item is None:
            raise item_not_found(text)
        return item

    def request_for(self, step: Try, request: Completion) -> Completion:
        """Return the request as this deployment gets it, with the ids that its provider knows."""
        if request.stored is None:
            return request
        places = {self._places[id] for id in self._accounts[step.target.deployment.id]}
        return replace(request, body=for_provider(request.body, request.stored, places))

    async def answered(
        self, context: RequestContext, request: Completion, step: Try, answer: Answer, reservation: AnyReservation
    ) -> Answer:
        """Return the response with sealed ids, or the failure in the client's terms. Keeps the response if the provider
        does not store it."""
        if isinstance(answer, Outcome):
            return self._judged(answer, request)
        if not request.stores or request.stored is None:
            return answer
        d = step.target.deployment
        if answer.passed and d.provider in STORING:
            answering = self._of_provider(context, request, d, answer, reservation)
        elif self.kept is None or not request.stored.keeps:
            return answer
        else:
            answering = self._of_kept(context, request, self.kept)
        if isinstance(answer, Plain):
            return replace(answer, body=await answering.whole(answer.body))
        first = await answering.feed(answer.first)
        return replace(answer, first=first, rest=_rest(answer, answering), shown=answering.ids.feed)

    def _judged(self, outcome: Outcome, request: Completion) -> Outcome:
        """Describe a failure in the client's ids. That a response is gone is not the deployment's fault.

        The message does not have the provider's ids any more: they look like secrets.
        """
        found = request.stored
        if found is None or not found.ids or outcome.status not in (400, 404):
            return outcome
        if found.previous_text and (outcome.code == "previous_response_not_found" or _PREVIOUS.match(outcome.message)):
            return _caller(previous_not_found(found.previous_text))
        if not _ITEM.match(outcome.message):
            return outcome
        named = [text for text, what in found.ids.items() if what is not found.previous]
        return _caller(item_not_found(named[0]) if len(named) == 1 else items_not_found())

    def _of_provider(
        self,
        context: RequestContext,
        request: Completion,
        d: Deployment,
        answer: Plain | Stream,
        reservation: AnyReservation,
    ) -> "_Answering":
        seal, owner, place = self.seal, context.holder, self._places[d.id]
        assert seal is not None, "the request stores"
        total, output = _sizes(answer, request, reservation)
        whole = (request.body.get("truncation") or d.presets.get("truncation")) in (None, "disabled")
        if not whole:  # a later request may read what was left out of this one
            total = 0
        group = bytes(4)

        def of_response(id: str) -> str:
            nonlocal group
            group = group_of(id)
            return seal.seal(SealedId(place, id, total, group), owner)

        def of_item(id: str) -> str:
            return seal.seal(SealedId(place, id, output, group), owner)

        async def ended(response: dict[str, Any]) -> None:
            used = usage(response["usage"]) if isinstance(response.get("usage"), dict) else Usage()
            if used.prompt and isinstance(response.get("id"), str):
                if whole:
                    self._remember((place, response["id"]), used.prompt + used.completion)
                self._remember((place, group), used.completion)

        stored = request.stored or StoredInput()
        known = {what.id: text for text, what in stored.ids.items()}
        return _Answering(ResponseIds(of_response, of_item, known), ended)

    def _of_kept(self, context: RequestContext, request: Completion, kept: KeptResponses) -> "_Answering":
        seal, owner, row = self.seal, context.holder, new_id()
        assert seal is not None, "the request stores"

        async def ended(response: dict[str, Any]) -> None:
            await kept.keep(row, owner, Kept(response, _named(request.body.get("input"), row)))

        return _Answering(kept_ids(seal, owner, row), ended)

    def _missing(self, found: StoredInput) -> ApiError:
        """The error for a response of a deployment that no longer exists."""
        for text, what in found.ids.items():
            if what in found.needed and what.place not in self._deployments:
                return previous_not_found(text) if what is found.previous else item_not_found(text)
        raise AssertionError("all deployments exist")

    def _bound(self, found: StoredInput) -> int | None:
        """The most tokens that the provider adds to the prompt, None if unknown. Recent responses are known exactly."""
        known = []
        for what in (*found.needed, *found.thoughts):
            exact = self._totals.get((what.place, what.id if what is found.previous else what.group))
            known.append(what if exact is None else what._replace(bound=exact))
        return StoredInput(needed=known).bound

    def _remember(self, name: tuple[bytes, str | bytes], tokens: int) -> None:
        self._totals[name] = tokens
        if len(self._totals) > _MOST_KNOWN:
            self._totals.popitem(last=False)


class _Answering(NamedTuple):
    """`ended` is called with the complete response before the client sees its end, so that a request that follows finds
    what it needs."""

    ids: "ResponseIds"
    ended: Callable[[dict[str, Any]], Awaitable[None]]

    async def whole(self, raw: bytes) -> bytes:
        shown = self.ids.whole(raw)
        await self._end()
        return shown

    async def feed(self, data: bytes) -> bytes:
        shown = self.ids.feed(data)
        await self._end()
        return shown

    async def _end(self) -> None:
        response, self.ids.ended = self.ids.ended, None
        if response is not None:
            await self.ended(response)


async def _rest(answer: Stream, answering: _Answering) -> AsyncGenerator[bytes]:
    try:
        async for data in answer.rest:
            yield await answering.feed(data)
    finally:
        await answer.rest.aclose()


def kept_ids(seal: Seal, owner: str, row: str) -> "ResponseIds":
    """Seals the ids of a kept response and its items."""
    return ResponseIds(
        lambda _: seal.seal(SealedId(KEPT, f"resp_{row}"), owner),
        lambda id: seal.seal(SealedId(KEPT, f"{id}/{row}"), owner),
    )


def row_of(what: SealedId) -> str:
    """The kept response that an id belongs to."""
    return what.id.rpartition("/")[2].removeprefix("resp_")


def _caller(error: ApiError) -> Outcome:
    return Outcome("caller", error.status, error.message, code=error.code, param=error.param)


def _sizes(answer: Plain | Stream, request: Completion, reservation: AnyReservation) -> tuple[int, int]:
    """The most tokens that the response adds to a prompt that continues it, and that its items add; 0 if unknown."""
    if isinstance(answer, Plain):
        used = usage(answer.usage or {})
        return (used.prompt + used.completion if used.prompt else 0), used.completion
    limit = request.body.get("max_output_tokens") or request.output_limit
    if not isinstance(limit, int):
        return 0, 0
    limit = max(limit, LEAST_OF_RESPONSES)
    prompted = reservation.prompt_tokens() if request.limited else None
    return (prompted + limit if prompted else 0), limit


def _counting(d: Deployment, model: str) -> tuple[str, int]:
    """How the model counts texts and images."""
    return tokenizer(d, model), image_tokens(d.info, model)


def _named(given: Any, row: str) -> list[dict[str, Any]]:
    """The input items, each with an id."""
    if isinstance(given, str):
        content = [{"type": "input_text", "text": given}]
        given = [{"type": "message", "role": "user", "content": content}]
    made = []
    for index, item in enumerate(given if isinstance(given, list) else ()):
        kind = item.get("type", "message")
        made.append({**item, "type": kind, "id": f"{_PREFIXES.get(kind, 'item')}_{row}{index:x}"})
    return made


def _stable_name(d: Deployment) -> str:
    """The same after a restart, a reload, and a change of its key or of its position in the file."""
    if d.info.get("id"):
        return str(d.info["id"])
    shown = {k: v for k, v in d.params.items() if k != "api_key" or str(v).startswith(REFERENCE)}
    return repr((d.group, sorted(shown.items(), key=str)))


def _account(d: Deployment) -> Any:
    """Deployments for which this is equal see the same stored responses."""
    return d.kind, d.provider, d.base, d.api_key, d.api_version, tuple(sorted(d.extra_headers.items()))


# The ids in a response are replaced by sealed ones: in a complete response, or in the events of a stream. Only the
# events that introduce ids are parsed. In all others, ids are replaced as bytes. https://platform.openai.com/docs/api-
# reference/responses-streaming

Sealing = Callable[[str], str]

_IDS = re.compile(
    rb'("(?:id|item_id|response_id|previous_response_id|approval_request_id)"\s*:\s*")([A-Za-z0-9._:/+=-]{1,512})"'
)
_NAMED = b'"item_id":"%b"'
# Responses and items have ids; nothing else in an event does.
_INTRODUCES = re.compile(rb'"(?:response|item)"\s*:\s*\{')
ENDS = frozenset(("response.completed", "response.incomplete"))


class ResponseIds:
    """Seals the ids of one response.

    `of_response`, `of_item`: seal an id, the same one always in the same way. `known`: ids that the client already has,
    by the provider's. `ended` is the complete response, once the stream has shown it.
    """

    def __init__(self, of_response: Sealing, of_item: Sealing, known: Mapping[str, str] | None = None) -> None:
        self._of_response = of_response
        self._of_item = of_item
        self._known = {theirs.encode(): ours.encode() for theirs, ours in (known or {}).items()}
        self._item = b"", b""  # how events name the latest item, with either id
        self.ended: dict[str, Any] | None = None

    def whole(self, raw: bytes) -> bytes:
        """Replaces the ids in a response object."""
        body = orjson.loads(raw)
        if isinstance(body, dict):
            self._learn_response(body)
            self.ended = body
        return self._replaced(raw)

    def items(self, raw: bytes) -> bytes:
        """Replaces the ids in a list of items, including its cursors."""
        body = orjson.loads(raw)
        items = body.get("data") if isinstance(body, dict) else None
        for item in items if isinstance(items, list) else ():
            self._learn_item(item)
        for name in ("first_id", "last_id"):
            theirs = body.get(name) if isinstance(body, dict) else None
            if isinstance(theirs, str):
                body[name] = self._known.get(theirs.encode(), theirs.encode()).decode()
        return self._replaced(orjson.dumps(body))

    def feed(self, data: bytes) -> bytes:
        """Replaces the ids in complete events."""
        if b'"item"' not in data and b'"response"' not in data:
            theirs, ours = self._item
            said = data.count(theirs) if theirs else 0
            if said and said == data.count(b'id"'):  # deltas of the latest item, which are most of a stream
                return data.replace(theirs, ours)
            return self._replaced(data)
        for event in split(data):
            if _INTRODUCES.search(event):
                self._learn(payload(event) or {})
        return self._replaced(data)

    def _replaced(self, data: bytes) -> bytes:
        known = self._known
        return _IDS.sub(lambda found: found[1] + known.get(found[2], found[2]) + b'"', data)

    def _learn(self, event: Mapping[str, Any]) -> None:
        response, item = event.get("response"), event.get("item")
        if isinstance(response, dict):
            self._learn_response(response)
            if event.get("type") in ENDS:
                self.ended = response
        self._learn_item(item)
        theirs = item.get("id") if isinstance(item, dict) else None
        if isinstance(theirs, str) and theirs.encode() in self._known:
            self._item = _NAMED % theirs.encode(), _NAMED % self._known[theirs.encode()]

    def _learn_response(self, response: Mapping[str, Any]) -> None:
        self._add(response.get("id"), self._of_response)
        output = response.get("output")
        for item in output if isinstance(output, list) else ():
            self._learn_item(item)

    def _learn_item(self, item: Any) -> None:
        if isinstance(item, dict):
            self._add(item.get("id"), self._of_item)

    def _add(self, id: Any, seal: Sealing) -> None:
        if isinstance(id, str) and id and id.encode() not in self._known:
            self._known[id.encode()] = seal(id).encode()
