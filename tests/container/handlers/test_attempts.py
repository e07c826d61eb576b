"""One attempt at one deployment, over the network: its answer, its deadline, and what the ledger learns of it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import orjson
import pytest
import uvloop
from aiohttp import web

from container.engine import Engine
from container.formats.shared.events import payload, split
from container.formats.shared.wire import Answer, Plain, Stream, StreamBroken
from container.handlers.attempts import Deadline, Upstream, _added
from container.request.completion import parse
from container.routing.health import Outcome
from container.routing.router import Target, Try
from tests.fakes.behaviour import Behaviour, Fault, failing
from tests.fakes.server import FakeProvider, refusing_port
from tests.tracing.figures import STEP
from worker.core.ledger.alerts import LONG_REST_SECONDS

HELLO = [{"role": "user", "content": "Hello there"}]
Attempt = Callable[..., Awaitable[Answer]]


@pytest.fixture
async def attempt(load_config, fake: FakeProvider) -> AsyncIterator[Attempt]:
    """`await attempt(stream=True, params={…}, settings={…}, …)`: one attempt at the fake provider."""
    made: dict[str, tuple[Upstream, Any]] = {}

    async def one(
        *,
        params: dict | None = None,
        settings: dict | None = None,
        group: str = "m",
        fallbacks: int = 0,
        keepalive: float = 30.0,
        on_silence: Callable[[], Awaitable[None]] | None = None,
        **fields,
    ) -> Answer:
        entry = {
            "model_name": "m",
            "litellm_params": {
                "model": "openai/gpt-4o",
                "api_key": "sk-ours",
                "api_base": fake.openai_base,
                **(params or {}),
            },
        }
        name = repr((params, settings, keepalive))
        if name not in made:
            config = load_config({"model_list": [entry], **(settings or {})})
            engine = Engine(config, {}, start_timeout=1)
            made[name] = Upstream(config.options, engine, connect_timeout=5.0, keepalive=keepalive), config
        upstream, config = made[name]
        request = parse("chat_completions", orjson.dumps({"model": "m", "messages": HELLO, **fields}))
        d = config.deployments[0]
        return await upstream.attempt(Try(Target(d, d.model), group, 0, fallbacks), request, on_silence or no_silence)

    yield one
    for upstream, _ in made.values():
        await upstream.close()


async def no_silence() -> None:
    raise AssertionError("nobody was silent")


def plain(answer: Answer) -> dict[str, Any]:
    assert isinstance(answer, Plain), answer
    return orjson.loads(answer.body)


def outcome(answer: Answer) -> Outcome:
    assert isinstance(answer, Outcome), answer
    return answer


async def whole(answer: Answer) -> bytes:
    assert isinstance(answer, Stream), answer
    return b"".join([answer.first, *[data async for data in answer.rest]])


# Responses


async def test_whole_response(attempt, fake):
    answer = await attempt(temperature=0.5)
    assert plain(answer)["model"] == "m"
    assert answer.usage["total_tokens"] > 0
    assert fake.last.path == "/v1/chat/completions"
    assert fake.last.api_key == "sk-ours"
    assert fake.last.body == {"model": "gpt-4o", "messages": HELLO, "temperature": 0.5}


async def test_response_after_a_fallback_has_the_fallbacks_name(attempt):
    assert plain(await attempt(group="other", fallbacks=1))["model"] == "other"


async def test_a_stream(attempt, fake):
    answer = await attempt(stream=True)
    sent = await whole(answer)
    assert sent.endswith(b"data: [DONE]\n\n")
    assert {chunk["model"] for event in split(sent) if (chunk := payload(event))} == {"m"}
    assert fake.last.body["stream_options"] == {"include_usage": True}
    assert answer.events.usage["total_tokens"] > 0
    assert b'"choices":[]' not in sent


async def test_requested_usage_is_forwarded(attempt):
    assert b'"choices":[]' in await whole(await attempt(stream=True, stream_options={"include_usage": True}))


@pytest.mark.parametrize("provider", ["mistral", "perplexity"])
async def test_usage_is_not_requested_from_a_provider_that_rejects_the_option(attempt, fake, provider):
    await whole(await attempt(stream=True, params={"model": f"{provider}/x"}))
    assert "stream_options" not in fake.last.body


async def test_provider_that_rejects_stream_options_is_retried_without_and_remembered(attempt, fake):
    fake.always(Behaviour(Fault.REJECT_STREAM_OPTIONS))
    for _ in range(2):
        assert await whole(await attempt(stream=True))
    assert ["stream_options" in seen.body for seen in fake.requests] == [True, False, False]


async def test_connections_are_reused(attempt, fake):
    for _ in range(3):
        await attempt()
        await whole(await attempt(stream=True))
    fake.queue(failing(400))
    await attempt()
    await attempt()
    assert len({seen.connection for seen in fake.requests}) == 1


async def test_abandoned_stream_ends_the_providers_work(attempt, fake):
    fake.always(Behaviour(pace=0.05, chunks=1000))
    answer = await attempt(stream=True)
    await answer.rest.__anext__()
    await answer.rest.aclose()
    await fake.eventually(lambda: fake.last.disconnected_at)


async def test_unread_stream_ends_the_providers_work(attempt, fake):
    fake.always(Behaviour(pace=0.05, chunks=1000))
    answer = await attempt(stream=True)
    await answer.rest.aclose()
    await fake.eventually(lambda: fake.last.disconnected_at)


async def test_cancelled_attempt_ends_the_providers_work(attempt, fake):
    fake.always(Behaviour(Fault.HANG_BEFORE_HEADERS))
    task = asyncio.ensure_future(attempt())
    await fake.eventually(lambda: fake.requests)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await fake.eventually(lambda: fake.last.disconnected_at)


# Errors


async def test_error_in_several_pieces_is_parsed(attempt, fake):
    fake.queue(Behaviour(status=400, message="Piece by piece.", trickle=0.001))
    assert outcome(await attempt()).message == "Piece by piece."


async def test_redirect_is_not_followed(attempt, fake):
    fake.queue(failing(307, location=f"{fake.url}/v1/chat/completions"))
    found = outcome(await attempt())
    assert (found.kind, found.status) == ("server", 307)
    assert len(fake.requests) == 1


async def test_provider_cookies_are_not_stored(attempt, fake):
    fake.queue(Behaviour(headers=(("set-cookie", "session=1"),)))
    await attempt()
    await attempt()
    assert "cookie" not in fake.last.headers


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.RESET_BEFORE_HEADERS, "connection"),
        (Fault.RESET_AFTER_HEADERS, None),
        (Fault.GARBAGE_JSON, "server"),
        (Fault.HTML_PAGE, "server"),
        (Fault.CONTENT_LENGTH_TOO_LONG, "server"),
        (Fault.ERROR_FIRST_EVENT, "server"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_invalid_response_is_a_failure(attempt, fake, fault, kind, stream):
    fake.always(Behaviour(fault))
    found = await attempt(stream=stream)
    if stream and isinstance(found, Stream):  # the start was valid
        with pytest.raises(StreamBroken):
            await whole(found)
        return
    assert outcome(found).kind in ((kind,) if kind else ("connection", "server"))
    assert outcome(found).message


async def test_refused_connection_is_a_connect_failure(attempt):
    with refusing_port() as port:
        found = outcome(await attempt(params={"api_base": f"http://127.0.0.1:{port}/v1"}))
    assert (found.kind, found.status, found.message) == ("connection", 0, "The provider cannot be reached.")


async def test_unknown_host_is_a_connect_failure(attempt):
    assert outcome(await attempt(params={"api_base": "http://nonesuch.invalid/v1"})).kind == "connection"


# Timeouts


@pytest.mark.parametrize("where", ["request", "deployment", "router"])
@pytest.mark.parametrize("stream", [False, True])
async def test_timeout_ends_an_attempt(attempt, fake, where, stream):
    fake.always(Behaviour(Fault.HANG_BEFORE_HEADERS))
    fields: dict[str, Any] = {"stream": stream}
    if where == "request":
        fields["timeout"] = 0.2
    elif where == "deployment":
        fields["params"] = {"timeout": 0.2}
    else:
        fields["settings"] = {"router_settings": {"timeout": 0.2}}
    found = outcome(await attempt(**fields))
    assert (found.kind, found.message) == ("timeout", "The provider did not answer within 0.2 s.")


async def test_stream_timeout_applies_up_to_the_first_event(attempt, fake):
    fake.always(Behaviour(Fault.HANG_AFTER_HEADERS))
    params = {"timeout": 60, "stream_timeout": 0.2}
    assert outcome(await attempt(stream=True, params=params)).kind == "timeout"


async def test_silence_before_the_first_event_is_reported(attempt, fake):
    fake.always(Behaviour(Fault.HANG_AFTER_HEADERS))
    told = []

    async def on_silence() -> None:
        told.append(True)

    found = await attempt(stream=True, keepalive=0.1, on_silence=on_silence, timeout=1.5)
    assert outcome(found).kind == "timeout"
    assert 2 <= len(told) <= 15


async def test_silent_stream_is_broken(attempt, fake):
    fake.always(Behaviour(Fault.HANG_MID_STREAM, after=1))
    with pytest.raises(StreamBroken) as caught:
        await whole(await attempt(stream=True, timeout=0.3))
    assert caught.value.timed_out
    await fake.eventually(lambda: fake.last.disconnected_at)


@pytest.mark.parametrize("fault", [Fault.RESET_MID_STREAM, Fault.HALF_CHUNK, Fault.END_EARLY])
async def test_truncated_stream_is_broken(attempt, fake, fault):
    fake.always(Behaviour(fault, after=2))
    answer, got = await attempt(stream=True), []
    assert isinstance(answer, Stream)

    async def follow() -> None:
        async for data in answer.rest:
            got.append(data)

    with pytest.raises(StreamBroken) as caught:
        await follow()
    assert not caught.value.timed_out
    assert all(payload(event) for event in split(answer.first + b"".join(got)))


# Fields that a provider rejects


@pytest.fixture
def picky(fake: FakeProvider, monkeypatch) -> Callable[..., None]:
    """`picky("temperature", …)`: the provider rejects requests with one of the fields, as OpenAI does."""

    def refuse(*fields: str, code: str = "unsupported_parameter") -> None:
        original = fake._answer

        async def answer(request, seen, context):
            for name in fields:
                if name in seen.body:
                    error = {
                        "message": f"Unsupported: '{name}'.",
                        "type": "invalid_request_error",
                        "param": name,
                        "code": code,
                    }
                    return web.json_response({"error": error}, status=400)
            return await original(request, seen, context)

        monkeypatch.setattr(fake, "_answer", answer)

    return refuse


DROP = {"litellm_settings": {"drop_params": True}}


@pytest.mark.parametrize("code", ["unsupported_parameter", "unsupported_value", "unknown_parameter"])
async def test_rejected_field_is_dropped_with_drop_params(attempt, fake, picky, code):
    picky("temperature", "top_p", code=code)
    assert plain(await attempt(settings=DROP, temperature=1, top_p=0.3, seed=1))
    assert fake.last.body == {"model": "gpt-4o", "messages": HELLO, "seed": 1}
    assert len(fake.requests) == 3


async def test_rejected_field_without_drop_params_is_the_clients_error(attempt, fake, picky):
    picky("temperature")
    found = outcome(await attempt(temperature=1))
    assert (found.kind, found.status, found.param) == ("unsupported", 400, "temperature")
    assert len(fake.requests) == 1


@pytest.mark.parametrize("name", ["model", "messages", "stream"])
async def test_essential_field_is_never_dropped(attempt, fake, picky, name):
    picky(name)
    found = outcome(await attempt(settings=DROP, stream=True))
    assert (found.kind, found.param) == ("unsupported", name)
    assert len(fake.requests) == 1


async def test_number_of_dropped_fields_is_limited(attempt, fake, picky):
    names = ["temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "top_logprobs", "n"]
    picky(*names)
    assert outcome(await attempt(settings=DROP, **dict.fromkeys(names, 1))).kind == "unsupported"
    assert len(fake.requests) == 6


# Deadlines on the proxy's event loop, and cancellation.

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param


def test_expired_deadline_raises_timeout_error_and_the_task_continues(run: Run):
    async def work():
        with pytest.raises(TimeoutError), Deadline(0.01):
            await asyncio.Event().wait()
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(0)
        return task.cancelling()

    assert run(work()) == 0


def test_work_done_in_time_is_not_interrupted(run: Run):
    async def work():
        with Deadline(0.02):
            done = await asyncio.sleep(0, "done")
        await asyncio.sleep(0.05)
        return done

    assert run(work()) == "done"


def test_error_inside_ends_the_deadline(run: Run):
    async def work():
        with pytest.raises(OSError, match="broken"), Deadline(0.02):
            raise OSError("broken")
        await asyncio.sleep(0.05)

    run(work())


def test_cancelled_task_is_cancelled(run: Run):
    async def work():
        with Deadline(30):
            await asyncio.Event().wait()

    async def main():
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_task_cancelled_before_its_deadline_stays_cancelled_when_it_expires_during_cleanup(run: Run):
    async def work():
        with Deadline(0.01):
            try:
                await asyncio.Event().wait()
            finally:
                try:
                    await asyncio.Event().wait()  # until the deadline passes
                except asyncio.CancelledError:
                    pass

    async def main():
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_shorter_of_two_deadlines_raises_and_the_longer_continues(run: Run):
    async def work():
        with Deadline(30):
            with pytest.raises(TimeoutError), Deadline(0.01):
                await asyncio.Event().wait()
            return await asyncio.sleep(0, "on")

    assert run(work()) == "on"


def test_outer_deadline_raises_outside_the_inner_one(run: Run):
    async def work():
        inner = None
        try:
            with Deadline(0.01):
                try:
                    with Deadline(30):
                        await asyncio.Event().wait()
                except BaseException as error:
                    inner = type(error)
                    raise
        except TimeoutError:
            return inner

    assert run(work()) is asyncio.CancelledError


def test_zero_deadline_expires_at_once(run: Run):
    async def work():
        with pytest.raises(TimeoutError), Deadline(0):
            await asyncio.Event().wait()

    run(work())


# What the ledger learns of failed attempts.


@pytest.mark.parametrize(
    ("ailing", "outcome", "told"),
    [
        (LONG_REST_SECONDS, Outcome("server", 500), True),
        (LONG_REST_SECONDS - 1, Outcome("server", 500), False),
        (LONG_REST_SECONDS, Outcome("caller", 400), False),  # the request's own fault
    ],
)
def test_the_ledger_is_told_of_a_deployment_that_rests_for_long(ailing: int, outcome: Outcome, told: bool) -> None:
    (attempt,) = json.loads(_added("", STEP._replace(ailing=ailing), outcome, 0.0))
    assert ("ailing" in attempt) == told
