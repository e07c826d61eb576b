"""The proxy: one table from endpoint to handler, and one place where errors become answers."""

import asyncio
import time
import traceback
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING

from aiohttp import web

from worker.api import cors
from worker.api.endpoints import ANTHROPIC, Endpoint, find, model_id
from worker.api.errors import ApiError, internal_error, unknown_path, wrong_method
from worker.api.failed_auth import FailedAuthLimiter

from . import log, metrics
from .accounting import Accounts, NoAccounting
from .authenticate import Authenticator
from .client_address import Network, client_address
from .exchange import ClientLeft, Exchange
from .handlers import dashboard
from .handlers.admin import Admin
from .handlers.behind_the_edge import INTERNAL, BehindTheEdge
from .handlers.completions import Completions
from .handlers.engine import EngineEndpoints
from .handlers.health import Health
from .handlers.metrics import Metrics
from .handlers.model_info import ModelInfo
from .handlers.models import Models
from .request_log import RequestLog

if TYPE_CHECKING:
    from .tracing import Tracing


class App:
    def __init__(
        self,
        authenticator: Authenticator,
        completions: Completions,
        engine_endpoints: EngineEndpoints,
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
        failed_auth: FailedAuthLimiter | None = None,
        trusted_proxies: Sequence[Network] = (),
    ) -> None:
        """`admin`: None behind the edge; `edge`: None anywhere else. `failed_auth`: counts wrong keys; None where
        no client comes itself."""
        self._failed_auth = failed_auth
        self._trusted_proxies = trusted_proxies
        self._authenticator = authenticator
        self._completions = completions
        self._engine_endpoints = engine_endpoints
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
            "model_info": model_info,
            "dashboard": dashboard.serve,
            "dashboard_file": dashboard.serve,
        }
        if metrics is not None:
            self._simple["metrics"] = metrics

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request. Cancelled when the client leaves."""
        exchange = Exchange(request)
        if self._request_log is not None:
            exchange.capture = self._request_log.capture()
        if self._tracing is not None:
            exchange.trace = self._tracing.begin(exchange.header("traceparent"))
        try:
            await self._serve(exchange)
        except ApiError as error:
            if exchange.started:
                exchange.failure = error.status
                raise
            exchange.error(self._counted(exchange, error) if error.status == 401 else error)
        except asyncio.CancelledError:
            exchange.failure = metrics.CLIENT_LEFT
            raise
        except ClientLeft:
            exchange.failure = metrics.CLIENT_LEFT
            log.debug("client_left", request_id=exchange.id)
            raise ConnectionResetError from None
        except Exception as error:  # noqa: BLE001 whatever it is, the client gets an answer
            # Where it happened is logged, not what was in it: a message may quote a prompt or a key.
            where = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)][-6:]
            log.error("internal_error", request_id=exchange.id, error=type(error).__name__, where=where)
            if exchange.started:
                exchange.failure = 500
                raise ConnectionAbortedError from None  # what was sent must not look whole
            exchange.error(internal_error(exchange.id))
        finally:
            status = exchange.failure or (exchange.response.status if exchange.response is not None else 500)
            if exchange.endpoint != INTERNAL:
                metrics.request(exchange.endpoint, exchange.group, status, time.monotonic() - exchange.began)
            if self._request_log is not None:
                self._request_log.ended(exchange, status)
            if self._tracing is not None:
                self._tracing.ended(exchange, status)
        assert exchange.response is not None, "every handler answers"
        return exchange.response

    def _counted(self, exchange: Exchange, refused: ApiError) -> ApiError:
        """The refusal of a key, or that there were too many of them."""
        if self._failed_auth is None:
            return refused
        address = client_address(exchange.request.remote, exchange.header, self._trusted_proxies)
        answer, passed = self._failed_auth.refusal(refused, exchange.header, address, time.monotonic())
        if passed:
            log.warning("failed_keys", address=address, effect="Many wrong keys; further ones are answered 429.")
        return answer

    async def _serve(self, exchange: Exchange) -> None:
        if self._edge is not None:
            await self._edge(exchange, self._dispatch)
            return
        exchange.always, preflight = cors.decide(exchange.method, exchange.header, self._allowed_origins)
        if preflight:
            exchange.respond(204, b"")
            return
        endpoint = find(exchange.method, exchange.path, exchange.header("upgrade"))
        exchange.endpoint = endpoint.name
        exchange.anthropic = endpoint.name in ANTHROPIC
        self._authenticator.check(exchange, endpoint)
        if exchange.key_hash is not None:
            if not (endpoint.engine or endpoint.methods == ("POST",)) or endpoint.admin:
                await self._accounting.authenticate(exchange)
            else:
                await self._admitted(exchange, endpoint)
                return
        await self._dispatch(exchange, endpoint)

    async def _admitted(self, exchange: Exchange, endpoint: Endpoint) -> None:
        """A virtual key's request that the ledger lets in, or refuses, in one go: nobody learns more of what is wrong
        with a request than that its key is. What a key may do may have changed since it was seen last, so a refusal
        that goes by that is thought over with what holds now."""
        if not self._accounting.recognise(exchange):
            await self._accounting.authenticate(exchange)
        assumed = exchange.models
        try:
            await self._dispatch(exchange, endpoint)
        except ApiError:
            if not exchange.recognised or exchange.started:
                raise
            body = exchange.kept
            await self._accounting.authenticate(exchange)
            if exchange.models == assumed:
                raise
            exchange.kept = body
            await self._dispatch(exchange, endpoint)

    def _dispatch(self, exchange: Exchange, endpoint: Endpoint) -> Awaitable[None]:
        simple = self._simple.get(endpoint.name)
        if simple is not None:
            return simple(exchange)
        if endpoint.name == "model":
            return self._models.one(exchange, model_id(exchange.path))
        if endpoint.admin:
            if self._admin is None:
                raise unknown_path(exchange.path)
            return self._admin(exchange, endpoint)
        if endpoint.engine:
            return self._engine_endpoints(exchange, endpoint)
        if endpoint.methods == ("POST",):
            return self._completions(exchange, endpoint)
        raise wrong_method(exchange.method, exchange.path, endpoint.methods)
