"""Everything that is built from one configuration: routing, providers and handlers. `App` dispatches endpoints to the
handlers and turns exceptions into error responses.
"""

import asyncio
import time
import traceback
from collections import defaultdict
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from aiohttp import web

from worker.core.api.auth import TEAM_HEADER, presented_key, too_many
from worker.core.api.endpoints import ANTHROPIC, GOOGLE, SIGN_IN, Endpoint, dialect_of, find, model_id
from worker.core.api.errors import ApiError, internal_error, unknown_path, wrong_method
from worker.core.api.headers import cors
from worker.core.ledger.admit import ALIAS_CHANGED

from ..accounting.accounting import Accounting, NoAccounting
from ..accounting.edge import Accounts, EdgeAccounting
from ..accounting.ledger import milliseconds
from ..config.deployment import blended
from ..config.load import Config
from ..engine import Engine
from ..handlers import public, stored_responses
from ..handlers.admin import Admin, SignInEndpoints
from ..handlers.attempts import Upstream, log_request
from ..handlers.behind_the_edge import INTERNAL, BehindTheEdge, MemoryBudget, Parking
from ..handlers.completions import Completions, RequestParser
from ..handlers.engine import EngineEndpoints
from ..handlers.public import AllWorkers, Health, Metrics, ModelInfo, Models
from ..handlers.response_cache import ResponseCache
from ..handlers.response_state import KeptResponses, ResponseState
from ..handlers.stored_responses import StoredAtProvider, StoredResponses
from ..observability import log, metrics
from ..records.request_log import RequestLog
from ..request.stored_input import Seal, secret_of_this_process
from ..routing.router import Router
from ..server.auth import Authenticator, CountFailedKey, client_address
from ..server.context import ClientLeft, RequestContext
from ..server.settings import Network, Settings

if TYPE_CHECKING:
    from worker.core.identity.authenticator import TokenAuthenticator

    from ..records.traces import Tracing
    from ..server.token_door import TokenDoor


# In the log, the `error` of a request whose client disconnected.
_CLIENT_LEFT = "client_left"


class App:
    def __init__(
        self,
        authenticator: Authenticator,
        completions: Completions,
        engine_endpoints: EngineEndpoints,
        stored_responses: StoredResponses,
        models: Models,
        model_info: ModelInfo,
        health: Health,
        allowed_origins: tuple[str, ...],
        admin: Admin | None = None,
        accounting: Accounts | None = None,
        edge: BehindTheEdge | None = None,
        *,
        metrics: Metrics | None = None,
        request_log: RequestLog | None = None,
        tracing: "Tracing | None" = None,
        failed_auth: CountFailedKey | None = None,
        trusted_proxies: Sequence[Network] = (),
        tokens: "TokenAuthenticator | None" = None,
        sign_in: SignInEndpoints | None = None,
    ) -> None:
        """`admin` is None behind the edge, `edge` is None elsewhere.

        `failed_auth` counts wrong keys. It is None if clients do not connect directly. `tokens` is None if JWTs are not
        accepted, `sign_in` behind the edge.
        """
        self._failed_auth = failed_auth
        self._trusted_proxies = trusted_proxies
        self._authenticator = authenticator
        self._tokens = tokens
        self._completions = completions
        self._engine_endpoints = engine_endpoints
        self._stored_responses = stored_responses
        self._models = models
        self._allowed_origins = allowed_origins
        self._admin = admin
        self._accounting = accounting or NoAccounting()
        self._edge = edge
        self._request_log = request_log
        self._tracing = tracing
        self._simple = {
            "root": health,
            "health": health,
            "liveliness": health,
            "liveness": health,
            "readiness": health,
            "openapi": health.description,
            "models": models.list,
            "google_models": models.list,
            "model_info": model_info,
            "dashboard": public.serve_dashboard,
            "dashboard_file": public.serve_dashboard,
        }
        if metrics is not None:
            self._simple["metrics"] = metrics
        self._sign_in = sign_in
        if sign_in is not None:
            self._simple |= dict.fromkeys(SIGN_IN, sign_in)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request. Cancelled when the client disconnects."""
        context = RequestContext(request)
        if self._request_log is not None:
            context.capture = self._request_log.capture()
        if self._tracing is not None:
            context.trace = self._tracing.begin(context.header("traceparent"))
        fault: str | None = None
        try:
            await self._serve(context)
        except ApiError as error:
            fault = error.code or error.type
            context.key_alias = context.key_alias or error.log_fields.get("key_alias") or ""
            if context.started:
                context.failure = error.status
                raise
            if context.endpoint == "other":  # there is nothing at this path
                context.dialect = dialect_of(context.path)
            context.error(await self._counted(context, error) if error.status == 401 else error)
        except asyncio.CancelledError:
            fault, context.failure = _CLIENT_LEFT, metrics.CLIENT_LEFT
            raise
        except ClientLeft:
            fault, context.failure = _CLIENT_LEFT, metrics.CLIENT_LEFT
            log.debug("client_left", request_id=context.id)
            raise ConnectionResetError from None
        except Exception as error:  # noqa: BLE001 the client gets a response whatever went wrong
            # Log where it happened but not the message, which may quote a prompt or a key.
            where = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)][-6:]
            log.error("internal_error", request_id=context.id, error=type(error).__name__, where=where)
            fault = "internal_error"
            if context.started:
                context.failure = 500
                raise ConnectionAbortedError from None  # a truncated response must not look complete
            context.error(internal_error(context.id))
        finally:
            status = context.failure or (context.response.status if context.response is not None else 500)
            if context.endpoint != INTERNAL:
                metrics.request(context.endpoint, context.group, status, time.monotonic() - context.began)
            log_request(context, status, fault)
            if self._request_log is not None:
                self._request_log.ended(context, status)
            if self._tracing is not None:
                self._tracing.ended(context, status)
        assert context.response is not None, "every handler answers"
        return context.response

    async def _counted(self, context: RequestContext, refused: ApiError) -> ApiError:
        """Return the refusal of a key, or the error for too many wrong keys."""
        if self._failed_auth is None or presented_key(context.header) is None:
            return refused
        address = client_address(context.request.remote, context.header, self._trusted_proxies)
        seconds, passed = await self._failed_auth(address)
        if passed:
            effect = "Too many wrong keys; further ones get 429."
            log.warning("failed_keys", request_id=context.id, address=address, effect=effect)
        return too_many(seconds) if seconds else refused

    async def _serve(self, context: RequestContext) -> None:
        if self._edge is not None:
            await self._edge(context, self._dispatch)
            return
        context.always, preflight = cors(context.method, context.header, self._allowed_origins)
        if preflight:
            context.respond(204, b"")
            return
        endpoint = find(context.method, context.path, context.header("upgrade"))
        context.endpoint = endpoint.name
        if endpoint.name in GOOGLE:
            context.dialect = "google"
            context.take_key()
        elif endpoint.name in ANTHROPIC:
            context.dialect = "anthropic"
        if endpoint.admin and self._has_session(context):
            if endpoint.name == "model_info" and self._sign_in is not None:
                await self._sign_in.identify(context)
            await self._dispatch(context, endpoint)
            return
        self._authenticator.check(context, endpoint)
        token = context.token
        if token is not None:
            await self._verify(context, token, endpoint)
            if endpoint.billable and context.caller is not None and context.caller.teams:
                await self._admitted_by_token(context, endpoint, token)
                return
        if context.key_hash is not None:
            if not endpoint.billable:
                await self._accounting.authenticate(context)
            else:
                await self._admitted(context, endpoint)
                return
        await self._dispatch(context, endpoint)

    async def _verify(self, context: RequestContext, token: str, endpoint: Endpoint, *, fresh: bool = False) -> None:
        """Find out who sent the JWT. `fresh`: ask the ledger in any case. Raises ApiError 401, 403 or 503."""
        assert self._tokens is not None, "without it no JWT is accepted"
        context.token = None
        team = context.header(TEAM_HEADER)
        caller = await self._tokens(token, endpoint, context.path, team, time.time(), fresh=fresh)
        context.caller, context.administrator = caller, caller.administrator
        context.models, context.aliases, context.person = caller.models, caller.aliases, caller.credential

    def _has_session(self, context: RequestContext) -> bool:
        """Whether the call comes with a session of the dashboard instead of a key. Raises ApiError 403."""
        if self._sign_in is None or self._authenticator.refusal is not None or presented_key(context.header):
            return False
        return self._sign_in.recognize(context)

    async def _admitted(self, context: RequestContext, endpoint: Endpoint) -> None:
        """Check a virtual key's request and admit it in one ledger transaction.

        A client with an invalid key learns only that. If the key was assumed valid from the cache, its permissions may
        be stale, so a refusal is checked again with the current ones.
        """
        if not self._accounting.assume_cached_key(context):
            await self._accounting.authenticate(context)
        assumed = context.models, context.aliases
        try:
            await self._dispatch(context, endpoint)
        except ApiError:
            if not context.key_assumed or context.started:
                raise
            body = context.kept
            await self._accounting.authenticate(context)
            if (context.models, context.aliases) == assumed:
                raise
            context.kept = body
            await self._dispatch(context, endpoint)

    async def _admitted_by_token(self, context: RequestContext, endpoint: Endpoint, token: str) -> None:
        """Check the request of a JWT's teams. What is known of them may be out of date, so a refusal is checked
        again, as in `_admitted`."""
        assumed, context.key_assumed = context.caller, True
        try:
            await self._dispatch(context, endpoint)
        except ApiError as error:
            again = context.key_assumed
            if context.started or not (again or error.code == ALIAS_CHANGED):
                raise
            await self._verify(context, token, endpoint, fresh=True)
            if not again or context.caller == assumed:
                raise
            await self._dispatch(context, endpoint)

    def _dispatch(self, context: RequestContext, endpoint: Endpoint) -> Awaitable[None]:
        simple = self._simple.get(endpoint.name)
        if simple is not None:
            return simple(context)
        if endpoint.name in ("model", "google_model"):
            return self._models.one(context, model_id(context.path))
        if endpoint.admin:
            if self._admin is None:
                raise unknown_path(context.path)
            return self._admin(context, endpoint)
        if endpoint.name in stored_responses.NAMES:
            return self._stored_responses(context, endpoint)
        if endpoint.engine:
            return self._engine_endpoints(context, endpoint)
        if endpoint.methods == ("POST",):
            return self._completions(context, endpoint)
        raise wrong_method(context.method, context.path, endpoint.methods)


def router_for(config: Config, before: Router | None = None, known: Config | None = None) -> Router:
    """Build a router. Deployments that are unchanged since `known` keep their state from `before`, including requests
    in flight and cooldowns."""
    by_cost = config.options.routing_strategy == "cost-based-routing"
    router = Router(config, prices=blended(config.deployments) if by_cost else None)
    if before is None or known is None:
        return router
    # The id includes the position in the file, which is irrelevant here.
    learnt = defaultdict(list)
    for d in known.deployments:
        learnt[repr(replace(d, id="")), d.api_key].append(before.health[d.id])
    for d in config.deployments:
        found = learnt[repr(replace(d, id="")), d.api_key]
        if found:
            router.adopt(d.id, found.pop(0))
    return router


class Gateway:
    """Serves requests. The engine, accounting and tracing are shared: another Gateway may take them over."""

    def __init__(
        self,
        config: Config,
        settings: Settings,
        router: Router,
        engine: Engine,
        accounting: Accounts,
        failed_auth: CountFailedKey,
        *,
        catalog: str = "",
        tracing: "Tracing | None" = None,
        all_workers: AllWorkers | None = None,
    ) -> None:
        """`catalog`: hash of the catalog, which must match the edge's, or ''. `tracing`: None if tracing is off.
        `all_workers`: the metrics of all workers, None if this is the only process."""
        self.config = config
        self.router = router
        self.failed_auth = failed_auth
        self.tracing = tracing
        self.engine = engine
        self._running = 0
        self._ended = asyncio.Event()
        self._upstream = Upstream(
            config.options,
            engine,
            connect_timeout=settings.connect_timeout,
            keepalive=settings.stream_keepalive,
            proxies=settings.proxies,
        )
        keeps_ledger = isinstance(accounting, Accounting)
        master_key = settings.master_key or config.options.master_key
        secret = settings.seal_secret(config.options.master_key) or secret_of_this_process()
        kept = None
        if isinstance(accounting, Accounting) and settings.responses_kept_days:
            kept = KeptResponses(
                accounting.run,
                accounting.dialect,
                secret,
                days=settings.responses_kept_days,
                megabytes=settings.responses_kept_mb,
                now=milliseconds,
            )
        state = ResponseState(config.deployments, router, Seal(secret), kept)
        self._stored = StoredAtProvider(
            connect_timeout=settings.connect_timeout, timeout=config.options.timeout, proxies=settings.proxies
        )
        reading = RequestParser(router, settings.max_body_mb, state)
        self._engine_endpoints = EngineEndpoints(
            router, engine, accounting, reading, timeout=config.options.timeout, proxies=settings.proxies
        )
        models = Models(config, router.groups)
        # Behind the edge, CORS is the edge's job.
        origins = settings.cors_allow_origins or config.options.allowed_origins
        origins = () if settings.internal_token else origins
        self._token_door: TokenDoor | None = None
        tokens = None
        if config.options.jwt_auth is not None and isinstance(accounting, Accounting):
            tokens = self._token_authenticator(config, settings, accounting)
        authenticator = Authenticator(
            settings, master_key, origins, virtual_keys=keeps_ledger, jwts=config.options.jwt_auth is not None
        )
        self.edge: BehindTheEdge | None = None
        if isinstance(accounting, EdgeAccounting):
            memory = MemoryBudget(int(max(settings.upload_memory_mb, settings.max_body_mb) * 1024 * 1024))
            self.edge = BehindTheEdge(
                authenticator, accounting, Parking(reading, accounting.price_book, memory), catalog
            )
        caching = config.options.response_cache
        self._cache = ResponseCache(caching) if caching and caching.url else None
        self._request_log = _request_log(config, settings)
        self._sign_in = SignInEndpoints(
            settings.sign_in if master_key else None,
            secret,
            accounting.run if isinstance(accounting, Accounting) else None,
            accounting.dialect if isinstance(accounting, Accounting) else None,
            connect_timeout=settings.connect_timeout,
            proxies=settings.proxies,
            trusted_proxies=settings.trusted_proxies,
            most_failures=settings.failed_keys_per_minute,
        )
        self._app = App(
            authenticator,
            Completions(
                router,
                self._upstream,
                accounting,
                reading,
                state,
                keepalive=settings.stream_keepalive,
                cache=self._cache,
            ),
            self._engine_endpoints,
            StoredResponses(state, self._stored),
            models,
            ModelInfo(config, router, vouched=settings.internal_token is not None),
            Health(models.on, engine, accounting, None if settings.internal_token else authenticator.refusal),
            origins,
            Admin(accounting.run, accounting.dialect, accounting.policy, master_key) if keeps_ledger else None,
            accounting,
            self.edge,
            metrics=Metrics(
                router,
                engine,
                accounting,
                lambda: self._running,
                all_workers,
                public=settings.metrics_public or settings.internal_token is not None,
            ),
            request_log=self._request_log,
            tracing=tracing,
            failed_auth=None if settings.internal_token else failed_auth,
            trusted_proxies=settings.trusted_proxies,
            tokens=tokens,
            sign_in=self._sign_in,
        )

    def _token_authenticator(self, config: Config, settings: Settings, accounting: Accounting) -> "TokenAuthenticator":
        # Imported here, because most configurations accept no JWTs.
        from worker.core.identity.authenticator import TokenAuthenticator

        from ..server.token_door import TokenDoor

        rules = config.options.jwt_auth
        assert rules is not None
        self._token_door = TokenDoor(connect_timeout=settings.connect_timeout, proxies=settings.proxies)
        trusts = rules.trusts(config.environment.get)
        return TokenAuthenticator(rules, trusts, self._token_door, accounting.find_owners, leeway=settings.jwt_leeway)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self._running += 1
        try:
            return await self._app(request)
        finally:
            self._running -= 1
            if not self._running:
                self._ended.set()

    @property
    def running(self) -> int:
        """Number of requests in flight."""
        return self._running

    async def ended(self) -> None:
        """Return when the last request has ended. Call it once no new requests arrive."""
        while self._running:
            self._ended.clear()
            await self._ended.wait()

    async def close(self) -> None:
        await self._engine_endpoints.close()
        await self._upstream.close()
        await self._stored.close()
        if self._token_door is not None:
            await self._token_door.close()
        await self._sign_in.close()
        if self._cache is not None:
            await self._cache.close()
        if self._request_log is not None:
            await asyncio.to_thread(self._request_log.close)


def _request_log(config: Config, settings: Settings) -> RequestLog | None:
    options = config.options.request_logging
    if options is None:
        return None
    secrets = [settings.master_key, config.options.master_key, settings.internal_token]
    for d in config.deployments:
        secrets += [d.api_key, *d.extra_headers.values()]
    return RequestLog(options, [one for one in secrets if one])
