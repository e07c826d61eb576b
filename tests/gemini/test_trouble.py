"""Gemini rejects, blocks or truncates: clients get the gateway's errors, and routing reacts accordingly."""

from typing import Any

import openai
import orjson
import pytest
from openai import OpenAI

from tests.conversation import leave_in_mid_stream, raw_stream
from tests.fakes.behaviour import Behaviour, Fault
from tests.fakes.server import FakeProvider
from tests.processes import RunningProxy

HELLO: Any = [{"role": "user", "content": "Hello there"}]
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


def ask(client: OpenAI, model: str, *, stream: bool = False, **more: Any) -> Any:
    answer = client.chat.completions.create(model=model, messages=HELLO, stream=stream, **more)
    return list(answer) if stream else answer


def refusal(status: int, message: str, state: str, **detail: Any) -> Behaviour:
    details = [{"@type": f"type.googleapis.com/google.rpc.{name}", **value} for name, value in detail.items()]
    error = {"code": status, "message": message, "status": state, "details": details}
    return Behaviour(status=status, raw=(orjson.dumps({"error": error}),))


@STREAMED
@pytest.mark.parametrize(
    ("status", "error"),
    [(400, openai.BadRequestError), (429, openai.RateLimitError), (500, openai.InternalServerError)],
)
def test_errors(client: OpenAI, provider: FakeProvider, stream, status, error):
    provider.always(f"{status},message=as ordered")
    with pytest.raises(error, match="as ordered") as raised:
        ask(client, "gemini", stream=stream)
    assert raised.value.status_code == status
    assert set(raised.value.body) == {"message", "type", "param", "code"}
    assert len(provider.requests) == 1


def test_googles_retry_delay_becomes_retry_after(client: OpenAI, provider: FakeProvider):
    provider.always(refusal(429, "Quota exceeded.", "RESOURCE_EXHAUSTED", RetryInfo={"retryDelay": "34.2s"}))
    with pytest.raises(openai.RateLimitError) as raised:
        ask(client, "gemini")
    assert raised.value.response.headers["retry-after"] == "35"


def test_invalid_key_is_the_gateways_error(client: OpenAI, provider: FakeProvider):
    provider.always(
        refusal(400, "API key not valid.", "INVALID_ARGUMENT", ErrorInfo={"reason": "API_KEY_INVALID"}),
        model="gemini-frail",
    )
    assert ask(client, "frail").model == "gpt"
    provider.always(refusal(400, "API key not valid.", "INVALID_ARGUMENT", ErrorInfo={"reason": "API_KEY_INVALID"}))
    with pytest.raises(openai.InternalServerError, match="credentials"):
        ask(client, "gemini")


BLOCKED = orjson.dumps({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {}})


@STREAMED
def test_blocked_prompt_is_a_content_policy_error(client: OpenAI, provider: FakeProvider, stream):
    provider.always(Behaviour(raw=(b"data: " + BLOCKED + b"\r\n\r\n" if stream else BLOCKED,)))
    with pytest.raises(openai.BadRequestError, match="PROHIBITED_CONTENT") as raised:
        ask(client, "gemini", stream=stream)
    assert raised.value.code == "content_filter"


@STREAMED
def test_blocked_prompt_falls_back(client: OpenAI, provider: FakeProvider, stream):
    raw = b"data: " + BLOCKED + b"\r\n\r\n" if stream else BLOCKED
    provider.always(Behaviour(raw=(raw,)), model="gemini-frail")
    answer = ask(client, "frail", stream=stream)
    assert (answer[0] if stream else answer).model == "gpt"


@STREAMED
def test_fallback_to_another_wire_format(client: OpenAI, provider: FakeProvider, stream):
    provider.always("503", model="gemini-frail")
    answer = ask(client, "frail", stream=stream)
    assert (answer[0] if stream else answer).model == "gpt"
    assert [seen.format for seen in provider.requests] == ["gemini", "openai"]


@pytest.mark.parametrize("fault", [Fault.ERROR_FIRST_EVENT, Fault.GARBAGE_JSON, Fault.HTML_PAGE])
def test_stream_that_starts_with_an_error_falls_back(client: OpenAI, provider: FakeProvider, fault):
    provider.always(Behaviour(fault), model="gemini-frail")
    assert ask(client, "frail", stream=True)[0].model == "gpt"


@STREAMED
def test_timeout(client: OpenAI, provider: FakeProvider, stream):
    provider.always(Behaviour(Fault.HANG_BEFORE_HEADERS))
    with pytest.raises(openai.InternalServerError) as raised:
        ask(client, "hasty", stream=stream)
    assert raised.value.status_code == 504
    provider.wait_for(lambda: provider.last.disconnected_at)


@pytest.mark.parametrize("fault", [Fault.ERROR_MID_STREAM, Fault.RESET_MID_STREAM, Fault.HALF_CHUNK, Fault.END_EARLY])
def test_truncated_stream_ends_with_an_error(gemini_proxy: RunningProxy, provider: FakeProvider, fault):
    # Paced, because a stream that arrives in one piece with its end fails before the first byte to the client.
    provider.always(Behaviour(fault, after=3, pace=0.05))
    answer = raw_stream(gemini_proxy.url, "gemini")
    assert answer.status_code == 200
    events = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    error = orjson.loads(events[-1][6:])["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "[DONE]" not in answer.text


def test_crlf_and_split_events(gemini_proxy: RunningProxy, provider: FakeProvider):
    provider.always(Behaviour(crlf=True, trickle=0.0005, chunks=2))
    answer = raw_stream(gemini_proxy.url, "gemini")
    events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    said = [orjson.loads(e)["choices"][0]["delta"].get("content") or "" for e in events[:-1]]
    assert ("".join(said), events[-1]) == ("Hello there", "[DONE]")


def test_client_disconnect_ends_the_providers_work(gemini_proxy: RunningProxy, provider: FakeProvider):
    provider.always(Behaviour(pace=0.1, chunks=1000, text="x" * 1000))
    leave_in_mid_stream(gemini_proxy.url, "gemini", "x")
    provider.wait_for(lambda: provider.last.disconnected_at, timeout=20)  # out of 100 s


def test_unsupported_field_is_named(client: OpenAI, provider: FakeProvider):
    with pytest.raises(openai.BadRequestError, match="logit_bias") as raised:
        ask(client, "gemini", logit_bias={"1": 1})
    assert raised.value.param == "logit_bias"
    assert provider.requests == []
