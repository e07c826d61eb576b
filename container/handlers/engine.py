"""The endpoints of the allow-list that only the engine serves: routed like any other, answered by LiteLLM."""

import asyncio
import time

import aiohttp

from worker.api.endpoints import Endpoint

from .. import log
from ..engine.supervisor import Engine, EngineUnavailable
from ..exchange import Exchange
from ..request.engine_body import FormBody, JsonBody, read_body
from ..routing.outcome import OK, Outcome
from ..routing.router import Router, Try
from ..upstream import failure
from ..upstream.attempt import MAX_ERROR_BYTES
from ..upstream.prepare import engine_model
from .drive import admit, drive, refusal


class EngineEndpoints:
    """Hands a request to the engine's deployment of the model, with failover; the answer passes through."""

    def __init__(self, router: Router, engine: Engine, *, max_body_mb: float, timeout: float) -> None:
        self._router = router
        self._engine = engine
        self._max_body_mb = max_body_mb
        self._timeout = timeout
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )

    async def close(self) -> None:
        await self._session.close()

    async def __call__(self, exchange: Exchange, endpoint: Endpoint) -> None:
        raw = await exchange.body(self._max_body_mb)
        body = read_body(endpoint, raw, exchange.headers.get("content-type", ""))
        admit(self._router, body.route)

        async def attempt(step: Try) -> Outcome:
            return await self._attempt(exchange, endpoint, step, body)

        failed = await drive(self._router.route(body.route), attempt)
        if not exchange.started:
            raise refusal(body.model, failed)

    async def _attempt(self, exchange: Exchange, endpoint: Endpoint, step: Try, body: JsonBody | FormBody) -> Outcome:
        d = step.target.deployment
        began = time.monotonic()
        outcome = OK
        if d.kind == "mock":
            return Outcome("caller", 400, f"A mock model cannot answer {endpoint.path}.", param="model")
        try:
            async with asyncio.timeout(d.timeout or self._timeout):
                where = await self._engine.ready(d.timeout or self._timeout)
                headers = {**where.headers, "content-type": body.content_type}
                async with self._session.post(
                    where.base + endpoint.path,
                    data=body.for_model(engine_model(d, step.target.model)),
                    headers=headers,
                    allow_redirects=False,
                ) as response:
                    if response.status != 200:
                        raw = await response.content.read(MAX_ERROR_BYTES)
                        outcome = failure.from_response(response.status, response.headers, raw)
                        return outcome
                    await _pass_on(exchange, response, step, body.model)
        except EngineUnavailable as error:
            outcome = Outcome("connection", 503, str(error), retry_after=error.retry_after)
        except TimeoutError:
            outcome = Outcome("timeout", 0, "The provider did not answer in time.")
        except (aiohttp.ClientError, OSError):
            outcome = Outcome("connection", 0, "The connection to the translation engine broke off.")
        finally:
            log.info(
                "attempt",
                request_id=exchange.id,
                model=body.model,
                endpoint=endpoint.name,
                deployment=d.id,
                provider=d.provider,
                retries=step.retries,
                fallbacks=step.fallbacks,
                outcome=outcome.kind,
                status=outcome.status,
                error=outcome.message or None,
                seconds=round(time.monotonic() - began, 4),
            )
        if exchange.started and not outcome.ok:
            # Bytes have gone out: no other deployment can take over, and the answer must not look whole.
            raise ConnectionAbortedError(outcome.message)
        return outcome


async def _pass_on(exchange: Exchange, response: aiohttp.ClientResponse, step: Try, model: str) -> None:
    theirs, ours = step.target.deployment.id.encode(), model.encode()
    headers = [
        ("x-litellm-call-id", exchange.id),
        ("x-litellm-model-id", step.target.deployment.id),
        ("x-litellm-model-group", step.group),
        ("x-litellm-attempted-retries", str(step.retries)),
        ("x-litellm-attempted-fallbacks", str(step.fallbacks)),
    ]
    content_type = response.headers.get("content-type", "application/octet-stream")
    if content_type.startswith("application/json"):
        exchange.respond(200, (await response.read()).replace(theirs, ours), headers, content_type)
        return
    first = await response.content.readany()
    await exchange.start(200, headers, content_type)
    while first:
        await exchange.write(first)
        first = await response.content.readany()
    await exchange.finish()
