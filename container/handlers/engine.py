"""The endpoints of the allow-list that only the engine serves: routed like any other, answered by LiteLLM."""

import asyncio
import time
from collections.abc import Callable

from worker.api.endpoints import Endpoint

from ..accounting import Accounts, AnyReservation, Transcript, UsageEvents, unseen
from ..config import Deployment
from ..engine.supervisor import Engine, EngineUnavailable
from ..exchange import Exchange
from ..request.engine_body import FormBody, JsonBody
from ..routing.outcome import OK, Outcome
from ..routing.router import Router, Try
from ..upstream import failure
from ..upstream.attempt import read_error
from ..upstream.http import Client, HttpError, Response
from ..upstream.prepare import engine_model, responses_limit
from . import engine_charges
from .attempts import answer_headers, charge, log_attempt
from .drive import drive, refusal
from .reading import Reading
from .rename import Rename

CONNECT_SECONDS = 30.0  # the engine listens on this machine
_GIVEN_UP = Outcome("caller", 499, "The client left.")


class EngineEndpoints:
    """Hands a request to the engine's deployment of the model, with failover; the answer passes through."""

    def __init__(
        self, router: Router, engine: Engine, accounting: Accounts, reading: Reading, *, timeout: float
    ) -> None:
        self._router = router
        self._accounting = accounting
        self._engine = engine
        self._reading = reading
        self._timeout = timeout
        self._client = Client(connect_timeout=CONNECT_SECONDS)

    async def close(self) -> None:
        await self._client.close()

    async def __call__(self, exchange: Exchange, endpoint: Endpoint) -> None:
        asked = await self._reading.asked(exchange, endpoint)
        body = asked.request
        assert isinstance(body, (JsonBody, FormBody)), "the endpoint is the engine's"
        reservation = await self._accounting.admit(
            exchange, endpoint.name, asked.fields, body.route, asked.charge, estimated=asked.prompt
        )
        engine_charges.limit_output(endpoint, body, reservation.output_limit)
        try:

            async def attempt(step: Try) -> Outcome:
                reservation.trying(step)
                outcome = await self._attempt(exchange, endpoint, step, body, reservation)
                if not outcome.ok:
                    reservation.failed(unread=outcome.unread)
                return outcome

            failed = await drive(self._router.route(body.route), attempt)
            if not exchange.started:
                error = refusal(body.model, failed)
                await reservation.settle(error.status)
                raise error
        finally:
            reservation.abandon()

    async def _attempt(
        self,
        exchange: Exchange,
        endpoint: Endpoint,
        step: Try,
        body: JsonBody | FormBody,
        reservation: AnyReservation,
    ) -> Outcome:
        d = step.target.deployment
        began = time.monotonic()
        outcome = _GIVEN_UP
        limit = d.timeout or self._timeout
        if d.kind == "mock":
            return Outcome("caller", 400, f"A mock model cannot answer {endpoint.path}.", param="model")
        response: Response | None = None
        try:
            async with asyncio.timeout(limit) as deadline:
                where = await self._engine.ready(limit)
                headers = {**where.headers, "content-type": body.content_type}
                response = await self._client.post(
                    where.base + endpoint.path, _body(endpoint, body, d, step.target.model), headers
                )
                if response.status != 200:
                    outcome = failure.from_response(response.status, response.headers, await read_error(response))
                    return outcome
                loop = asyncio.get_running_loop()
                await _pass_on(
                    exchange,
                    response,
                    step,
                    body,
                    reservation,
                    lambda: deadline.reschedule(loop.time() + limit),
                )
                outcome = OK
        except EngineUnavailable as error:
            outcome = Outcome("connection", 503, str(error), retry_after=error.retry_after)
        except TimeoutError:
            outcome = Outcome("timeout", 0, "The provider did not answer in time.")
        except (HttpError, OSError):
            unread = response is not None and response.status == 200
            outcome = Outcome("connection", 0, "The connection to the translation engine broke off.", unread=unread)
        finally:
            if response is not None:
                response.close()
            log_attempt(exchange, step, body.model, outcome, began, endpoint=endpoint.name)
        if exchange.started and not outcome.ok:
            # Bytes have gone out: no other deployment can take over, and the answer must not look whole.
            raise ConnectionAbortedError(outcome.message)
        return outcome


def _body(endpoint: Endpoint, body: JsonBody | FormBody, d: Deployment, model: str) -> bytes:
    limit = (
        responses_limit(d, model, body.fields) if isinstance(body, JsonBody) and endpoint.name == "responses" else None
    )
    return body.for_model(engine_model(d, model), limit)


async def _pass_on(
    exchange: Exchange,
    response: Response,
    step: Try,
    body: JsonBody | FormBody,
    reservation: AnyReservation,
    patience: Callable[[], None],
) -> None:
    """`patience` is called for whatever comes: it puts off the end of the time limit."""
    theirs, ours = step.target.deployment.id.encode(), body.model.encode()
    headers = answer_headers(exchange, step)
    content_type = response.headers.get("content-type", "application/octet-stream")
    if content_type.startswith("application/json"):
        raw = await response.read()
        charge(reservation, engine_charges.usage(raw), raw, headers)
        await reservation.settle(200)
        exchange.respond(200, raw.replace(theirs, ours), headers, content_type)
        return
    events = content_type.startswith("text/event-stream")
    said, found, rename = Transcript(), UsageEvents(), Rename(theirs, ours)
    reservation.streaming(said, unseen.kept(body.fields) if isinstance(body, JsonBody) else {})
    ended = False
    data = await response.readany()
    await exchange.start(200, headers, content_type)
    try:
        while data:
            patience()
            if events:
                said.add(data)
                found.feed(data)
            data = rename.feed(data) if events else data
            if data:
                await exchange.write(data)
            data = await response.readany()
        ended = True
    finally:
        reservation.answered(found.usage, early=not ended)
    await reservation.settle(200)
    await exchange.finish(rename.end())
