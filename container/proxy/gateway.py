"""Everything that is built from one configuration: routing, providers and handlers."""

import asyncio
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from aiohttp import web

from ..accounting.accounting import Accounting
from ..accounting.edge import Accounts, EdgeAccounting
from ..accounting.ledger import milliseconds
from ..config.load import Config
from ..config.prices import blended
from ..engine.supervisor import Engine
from ..handlers.admin import Admin
from ..handlers.attempts import Upstream
from ..handlers.behind_the_edge import BehindTheEdge
from ..handlers.completions import Completions
from ..handlers.engine import EngineEndpoints
from ..handlers.kept_responses import KeptResponses
from ..handlers.metrics import AllWorkers, Metrics
from ..handlers.models import ModelInfo, Models
from ..handlers.parked_uploads import Parking
from ..handlers.public import Health
from ..handlers.request_parser import RequestParser
from ..handlers.response_cache import ResponseCache
from ..handlers.response_state import ResponseState
from ..handlers.sign_in import SignInEndpoints
from ..handlers.stored_responses import StoredAtProvider, StoredResponses
from ..records.request_log import RequestLog
from ..request.sealed_ids import Seal, secret_of_this_process
from ..routing.router import Router
from ..server.auth import Authenticator, CountFailedKey
from ..server.memory_budget import MemoryBudget
from ..server.settings import Settings
from .app import App

if TYPE_CHECKING:
    from worker.core.identity.callers import TokenAuthenticator

    from ..records.trace_exporter import Tracing
    from ..server.token_door import TokenDoor


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
        from worker.core.identity.callers import TokenAuthenticator

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
