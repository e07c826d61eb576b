"""The Worker's request handler: authorization, then a response from the edge or from a container.

Modules that only some requests need are imported on first use, so that a new isolate starts sooner.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pyodide.ffi import JsException

from catalog import CATALOG
from core.api import auth, google, health
from core.api.auth import AuthorizedRequest, FailedAuthLimiter, presented_key
from core.api.endpoints import CALLS_A_MODEL, SIGN_IN, Endpoint, dialect_of, find, path_of
from core.api.errors import ApiError, internal_error, invalid_request
from core.api.headers import acceptable, cors, new_request_id, parse_origins
from core.api.health import listed, missing, models_on
from core.ledger.keys import hash_secret, of_a_key
from core.pricing.quote import Quoter
from core.protocol import GRANT_HEADER, MASTER, REQUEST_ID_HEADER, EdgeGrant

from . import settings
from .admission import Admission, BillableRequest, Presented
from .container_life import longest_wake, read_limits
from .messages import (
    Client,
    empty_response,
    error_response,
    finished,
    forward,
    headers_of,
    json_response,
    page_response,
    text_response,
    without_body,
)
from .requests import candidates, instance_names, stand_in
from .runtime.javascript import bindings, error_text, js, or_none, variable
from .runtime.log import log, where
from .stubs import Instances, LedgerClient

if TYPE_CHECKING:
    from core.identity.authenticator import TokenAuthenticator


# Seconds until an object that does not report its state counts as unavailable.
STATE_TIMEOUT = 5.0


class Edge:
    """The edge of a deployment, also its `health.Door`. Created once per isolate, as its variables never change."""

    def __init__(self) -> None:
        env = bindings()

        def read(name: str) -> str | None:
            return variable(env, name)

        found = settings.read(read)
        for problem in found.problems:
            log("warning", "setting_ignored", reason=problem)
        self._settings = found
        self._rules = auth.Rules(
            master_key=found.master_key,
            local=found.local,
            public_models=found.public_models,
            max_body_mb=found.max_body_mb,
            jwts=CATALOG.get("jwt_auth") is not None,
            base_url=found.sign_in.base_url if found.sign_in else "",
        )
        self._tokens: TokenAuthenticator | None = None  # created on first use
        self._sign_in: Any = None  # likewise
        origins = found.cors_allow_origins
        self.origins = tuple(CATALOG["allowed_origins"]) if origins is None else parse_origins(origins)
        self.failed_auth = FailedAuthLimiter(found.failed_keys_per_minute)

        def is_set(name: str) -> bool:
            return read(name) is not None

        self._is_set = is_set
        self.models = models_on(CATALOG["models"], is_set)
        ledger_binding, others = (or_none(getattr(env, name, None)) for name in ("LEDGER", "PROXY_CONTAINER"))
        limit = longest_wake(read_limits(read))
        place = found.location_hint
        self._instances = Instances(ledger_binding, others, limit, place, stand_in(found.instances))
        self._ledger = ledger = LedgerClient(ledger_binding, place)
        quoter = Quoter(
            CATALOG["deployments"],
            CATALOG["reach"],
            lambda needs: not missing(needs, is_set),
            found.default_max_output,
            found.min_output,
        )
        self._admission = Admission(ledger, self._instances, quoter)

    async def answer(self, client: Client) -> Any:
        """Returns the response without the headers that every response carries. Raises ApiError."""
        request, headers, request_id = client.request, client.headers, client.id
        try:
            path, search = _address(request.url)  # resolves dot segments, so the path that is checked is the one sent
        except JsException:  # an invalid Host header
            raise invalid_request("The request's address is not a valid URL.") from None
        if search and google.is_googles(path):
            search = _without_key(search, headers)
        asked = auth.admit(client.method, path, headers.get, self._rules)
        endpoint = asked.endpoint
        if endpoint.name == "openapi":
            return _description()
        if endpoint.name in ("dashboard", "dashboard_file"):
            return page_response(path, headers.get("if-none-match"))
        if endpoint.public:
            if endpoint.name in SIGN_IN:
                return await self._signing_in(client, endpoint.name, path, search[1:])
            return json_response(*await health.answer(endpoint.name, self))
        if asked.person is not None:
            return await self._by_person(client, endpoint, path, search[1:], asked.person)
        who = await self._who(asked, client, path)
        if endpoint.admin:
            grant = await self._admission.authenticate(who, request_id)
            if endpoint.name == "model_info":
                return await self._model_info(client, path, who, grant)
            from .administration import administer

            return await administer(self._ledger, client, endpoint, path, search[1:], who)
        if endpoint.name == "metrics":
            await self._admission.authenticate(who, request_id)
            from .administration import scrape

            by_master = who.administrator
            found = await scrape(self._instances, client, search[1:], await self._states(), by_master=by_master)
            return await without_body(found) if client.method == "HEAD" else found
        instances = self._settings.instances
        key = None if instances == 1 else presented_key(headers.get) if who.caller is None else who.caller.owner
        names = candidates(instances, key)
        if endpoint.billable:
            return await self._admission.answer(BillableRequest(client, endpoint, path + search, who, names))
        grant = [(GRANT_HEADER, (await self._admission.authenticate(who, request_id)).encode())]
        bodies = () if client.method in ("GET", "HEAD") else (None,)
        found = await self._instances.answer(
            lambda fetch: forward(fetch, client, path + search, grant, *bodies), names, client, again=True
        )
        return await without_body(found.response) if client.method == "HEAD" else found.response

    async def _who(self, asked: AuthorizedRequest, client: Client, path: str) -> Presented:
        """Verifies a JWT. Raises ApiError 401, 403 or 503."""
        if asked.token is None:
            return Presented(None if asked.key is None else hash_secret(asked.key))
        if self._tokens is None:
            from .sign_in import token_authenticator  # most deployments accept no JWTs

            self._tokens = token_authenticator(self._ledger, self._settings.jwt_leeway)
        tokens, token, endpoint = self._tokens, asked.token, asked.endpoint
        team = client.headers.get(auth.TEAM_HEADER)
        caller = await tokens(token, endpoint, path, team, time.time())
        if not (caller.teams and endpoint.billable):
            return Presented(caller=caller)

        async def renew() -> Presented:
            return Presented(caller=await tokens(token, endpoint, path, team, time.time(), fresh=True))

        return Presented(caller=caller, renew=renew)

    async def _signing_in(self, client: Client, name: str, path: str, query: str) -> Any:
        from . import sign_in

        settings = self._settings.sign_in if self._rules.master_key and self.refusal is None else None
        if self._sign_in is None and settings is not None:
            self._sign_in = sign_in.made(settings, self._rules.master_key, self._settings.failed_keys_per_minute)
        return await sign_in.answer(self._sign_in, self._ledger, client, name, path, query)

    async def _by_person(
        self, client: Client, endpoint: Endpoint, path: str, query: str, person: dict[str, str]
    ) -> Any:
        """Answers a call of the admin API by somebody who is signed in. Raises ApiError."""
        if endpoint.name == "model_info":
            from .sign_in import grant_of

            grant, who = await grant_of(self._ledger, client, person)
            return await self._model_info(client, path, who, grant)
        from .administration import administer

        return await administer(self._ledger, client, endpoint, path, query, Presented(session=person))

    async def _model_info(self, client: Client, path: str, who: Presented, grant: EdgeGrant) -> Any:
        """Returns the model info of a running container, or the catalog's; it wakes no container. Raises ApiError."""
        if who.administrator:
            grant = EdgeGrant(owner=MASTER)
        states = await self._states()
        running = [name for name, state in states.items() if state == health.RUNNING]
        if running:
            added = [(GRANT_HEADER, grant.encode())]
            asking = self._instances.answer(
                lambda fetch: forward(fetch, client, path, added), running, client, stand_in=False
            )
            response = (await asking).response
        else:
            data = listed(CATALOG["models"], self._is_set)
            if not who.administrator:
                data = of_a_key(data, grant.models)
            response = json_response(200, {"container": health.overall(states.values()), "data": data})
        return await without_body(response) if client.method == "HEAD" else response

    @property
    def refusal(self) -> str | None:
        """The reason to serve nothing but health."""
        refusal = auth.refusal_to_serve(self._rules)
        return None if refusal is None else refusal.message

    async def behind(self) -> dict[str, str]:
        return {"container": health.overall((await self._states()).values())}

    async def ledger_usable(self) -> bool:
        return await self._ledger.usable()

    async def _states(self) -> dict[str, str]:
        """Returns the state of every instance."""
        names = instance_names(self._settings.instances)
        states = await asyncio.gather(*(self._state_of(name) for name in names))
        return dict(zip(names, states, strict=True))

    async def _state_of(self, name: str) -> str:
        try:
            return await self._instances.state(name, STATE_TIMEOUT)
        except (JsException, TimeoutError):
            return health.UNAVAILABLE


def _description() -> Any:
    from core import openapi

    return text_response(openapi.text())


def _address(address: str) -> tuple[str, str]:
    """Returns the path, and the query with its question mark. Raises JsException."""
    return _split(address) if "key=" not in address else _parsed(address)


def _parsed(address: str) -> tuple[str, str]:
    url = js.URL.new(address)
    return url.pathname, url.search


_split = lru_cache(maxsize=64)(_parsed)


def _without_key(search: str, headers: dict[str, str]) -> str:
    """Moves a Google client's key from the query to a header, unless there is one: queries end up in logs."""
    query, key = google.take_key(search[1:])
    if key is not None and presented_key(headers.get) is None:
        headers[google.KEY_HEADER] = key
    return f"?{query}" if query else ""


_edge: Edge | None = None


def _deployment() -> Edge:
    """Returns the isolate's edge, created on the first request: at import there are no bindings and no clock."""
    global _edge
    if _edge is None:
        _edge = Edge()
    return _edge


def _counted(headers: dict[str, str], request_id: str, refused: ApiError) -> ApiError:
    """Counts a failed authentication and returns the error to send. Each isolate counts separately."""
    address = headers.get("cf-connecting-ip", "")
    answer, passed = _deployment().failed_auth.refusal(refused, headers.get, address, time.monotonic())
    if passed:
        log("warning", "failed_keys", request_id=request_id, address=address)
    return answer


def _refusal(client: Client, error: ApiError, began: float) -> Any:
    path = path_of(client.request.url)
    _log_refused(client, path, error, began)
    return error_response(error, dialect_of(path))


def _log_refused(client: Client, path: str, error: ApiError, began: float) -> None:
    """Logs a request that ends here. The container that answers any other writes its line.

    `path`: the request's, raw. `began`: on `time.monotonic`. Only requests to a model have a line.
    """
    try:
        endpoint = find(client.method, path).name
    except ApiError:
        return
    if endpoint in CALLS_A_MODEL:
        log(
            "info",
            "request_finished",
            request_id=client.id,
            endpoint=endpoint,
            **error.log_fields,
            status=error.status,
            error=error.code or error.type,
            cost=0,
            seconds=round(time.monotonic() - began, 4),
        )


async def handle(request: Any) -> Any:
    """Handles a JS request and always returns a JS response."""
    began = time.monotonic()
    headers = headers_of(request)
    client = Client(request, request.method, headers, new_request_id(), acceptable(headers.get(REQUEST_ID_HEADER)))
    request_id = client.id
    always: Sequence[tuple[str, str]] = ()
    try:
        edge = _deployment()
        always, preflight = cors(client.method, headers.get, edge.origins)
        if preflight:
            return finished(empty_response(204), request_id, always)
        response = await edge.answer(client)
    except ApiError as error:
        refused = _counted(headers, request_id, error) if error.status == 401 else error
        response = _refusal(client, refused, began)
    except Exception as error:  # noqa: BLE001 - the client always gets a response, and the log the reason
        fault = f"{type(error).__name__}: {error_text(error)}"
        log("error", "edge_failed", request_id=request_id, reason=fault, where=where(error))
        response = _refusal(client, internal_error(request_id), began)
    return finished(response, request_id, always)
