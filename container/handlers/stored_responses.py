"""`/responses/{id}` and the paths below it: retrieve, delete, cancel, and list the input items of a stored response.

https://platform.openai.com/docs/api-reference/responses/get
"""

from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import orjson

from worker.core.api.endpoints import CANCEL_RESPONSE, INPUT_ITEMS, OF_A_RESPONSE, Endpoint, response_id
from worker.core.api.errors import invalid_request
from worker.core.pricing.usage import usage

from ..config.deployment import Deployment
from ..formats.shared import failure, wire
from ..formats.shared.wire import json_object
from ..http_client.client import Client
from ..http_client.request import HttpError, Proxies
from ..request.stored_input import KEPT, SealedId, group_of, response_not_found
from ..routing.health import Outcome
from ..routing.router import Target, Try
from ..server.context import RequestContext
from .attempts import Deadline, model_off, read_error, refusal
from .response_state import ResponseIds, ResponseState, kept_ids, row_of

NAMES = frozenset(endpoint.name for endpoint in OF_A_RESPONSE.values())
# The parameters that are passed on to the provider, with their endpoints. All others concern streams.
_PASSED = {"response": ("include", "include[]"), INPUT_ITEMS.name: ("after", "include", "include[]", "limit", "order")}
_PAGE, _LARGEST_PAGE = 20, 100


class StoredAtProvider:
    """Asks a provider for a response that it has stored. `timeout`: in seconds, for deployments without one."""

    def __init__(self, *, connect_timeout: float, timeout: float, proxies: Proxies | None) -> None:
        self._client = Client(connect_timeout=connect_timeout, proxies=proxies)
        self._timeout = timeout

    async def close(self) -> None:
        await self._client.close()

    async def ask(
        self, d: Deployment, method: str, id: str, tail: str, query: dict[str, str]
    ) -> dict[str, Any] | Outcome:
        """Return the provider's JSON object, or the failure. `tail`: the rest of the path after the id."""
        where = wire.address(d)
        base, _, own = wire.url(d, where.base, d.model, "responses").partition("?")
        parameters = "&".join(part for part in (own, urlencode(query)) if part)
        url = f"{base}/{quote(id, safe='')}{tail}" + (f"?{parameters}" if parameters else "")
        limit = d.timeout or self._timeout
        response = None
        try:
            with Deadline(limit):
                response = await self._client.bare(method, url, where.headers)
                if response.status != 200:
                    return failure.from_response(response.status, response.headers, await read_error(response))
                return json_object(await response.read())
        except TimeoutError:
            return Outcome("timeout", 0, f"The provider did not answer within {limit:g} s.")
        except (HttpError, OSError):
            return Outcome("connection", 0, "The provider cannot be reached.")
        finally:
            if response is not None:
                response.close()


class StoredResponses:
    def __init__(self, state: ResponseState, provider: StoredAtProvider) -> None:
        self._state = state
        self._provider = provider

    async def __call__(self, context: RequestContext, endpoint: Endpoint) -> None:
        """Raises ApiError 404 for everything that is not a response of this owner, 400, or the provider's failure."""
        text = response_id(context.path)
        query = dict(parse_qsl(context.request.raw_path.partition("?")[2], keep_blank_values=True))
        if query.get("stream", "false").lower() not in ("false", "0", ""):
            raise invalid_request("A stored response cannot be streamed. Retrieve it without 'stream'.", param="stream")
        seal = self._state.seal
        what = seal.open(text, context.holder) if seal is not None and text.startswith("resp_") else None
        if what is None:
            raise response_not_found(text)
        if what.place == KEPT:
            await self._kept(context, endpoint, text, what, query)
        else:
            await self._of_provider(context, endpoint, text, what, query)

    async def _kept(
        self, context: RequestContext, endpoint: Endpoint, text: str, what: SealedId, query: dict[str, str]
    ) -> None:
        kept, seal, owner, row = self._state.kept, self._state.seal, context.holder, row_of(what)
        if kept is None or seal is None:
            raise response_not_found(text)
        if context.method == "DELETE":
            if not await kept.forget(row, owner):
                raise response_not_found(text)
            context.respond(200, orjson.dumps(_deleted(text)))
            return
        ids = kept_ids(seal, owner, row)
        if endpoint.name == INPUT_ITEMS.name:
            found = await kept.whole(row, owner)
            if found is None:
                raise response_not_found(text)
            shown = orjson.loads(ids.items(orjson.dumps({"data": found.input})))["data"]
            context.respond(200, orjson.dumps(_page(shown, query)))
            return
        response = await kept.response(row, owner)
        if response is None:
            raise response_not_found(text)
        if endpoint.name == CANCEL_RESPONSE.name:
            raise invalid_request("Cannot cancel a synchronous response.")
        context.respond(200, ids.whole(orjson.dumps(response)))

    async def _of_provider(
        self, context: RequestContext, endpoint: Endpoint, text: str, what: SealedId, query: dict[str, str]
    ) -> None:
        d = self._state.deployment(what.place)
        if d is None:
            raise response_not_found(text)
        if d.off:
            raise model_off(d.group, [Target(d, d.model)])
        method = "GET" if context.method == "HEAD" else context.method
        passed = {name: query[name] for name in _PASSED.get(endpoint.name, ()) if name in query}
        if "after" in passed:
            passed["after"] = self._opened(passed["after"], context.holder)
        answer = await self._provider.ask(d, method, what.id, endpoint.path.partition("{id}")[2], passed)
        if isinstance(answer, Outcome):
            if answer.status == 404:
                raise response_not_found(text)
            shown = answer._replace(message=answer.message.replace(what.id, text))
            raise refusal(d.group, [(Try(Target(d, d.model), d.group, 0, 0), shown)])
        if method == "DELETE":
            context.respond(200, orjson.dumps(_deleted(text)))
            return
        ids = self._ids(d, what, text, context.holder, answer)
        shown = (
            ids.items(orjson.dumps(answer)) if endpoint.name == INPUT_ITEMS.name else ids.whole(orjson.dumps(answer))
        )
        context.respond(200, shown)

    def _ids(self, d: Deployment, what: SealedId, text: str, owner: str, answer: dict[str, Any]) -> ResponseIds:
        seal = self._state.seal
        assert seal is not None, "the id was opened"
        if isinstance(answer.get("model"), str) and not d.wildcard:
            answer["model"] = d.group
        previous = answer.get("previous_response_id")
        known = {what.id: text}
        if isinstance(previous, str):
            known[previous] = seal.seal(SealedId(what.place, previous, what.bound, group_of(previous)), owner)
        used = answer.get("usage")
        # The items before this response add no more to a prompt than it does with all of them.
        bound = usage(used).completion if isinstance(used, dict) else what.bound
        return ResponseIds(
            lambda id: seal.seal(SealedId(what.place, id, what.bound, group_of(id)), owner),
            lambda id: seal.seal(SealedId(what.place, id, bound, what.group), owner),
            known,
        )

    def _opened(self, after: str, owner: str) -> str:
        """Return the provider's id of an item. An unknown one finds nothing there, either."""
        seal = self._state.seal
        known = seal.open(after, owner) if seal is not None else None
        return known.id if known is not None else after


def _deleted(text: str) -> dict[str, Any]:
    return {"id": text, "object": "response", "deleted": True}


def _page(items: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    """The newest item comes first unless the client asks for the other order. Raises ApiError 400."""
    limit = query.get("limit") or str(_PAGE)
    short = len(limit) <= len(str(_LARGEST_PAGE))
    if not (short and limit.isascii() and limit.isdigit() and 1 <= int(limit) <= _LARGEST_PAGE):
        raise invalid_request(f"'limit' has to be a number from 1 to {_LARGEST_PAGE}.", param="limit")
    if query.get("order", "desc") not in ("asc", "desc"):
        raise invalid_request("'order' has to be asc or desc.", param="order")
    if query.get("order", "desc") == "desc":
        items = items[::-1]
    if query.get("after"):
        at = next((index for index, item in enumerate(items) if item["id"] == query["after"]), None)
        if at is None:
            raise invalid_request("'after' is not an item of this response.", param="after")
        items = items[at + 1 :]
    shown = items[: int(limit)]
    ends = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    return {
        "object": "list",
        "data": shown,
        "first_id": ends[0],
        "last_id": ends[1],
        "has_more": len(items) > len(shown),
    }
