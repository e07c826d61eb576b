"""Errors arrive as the matching exception of OpenAI's client, with the fields it reads."""

from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.fakes.behaviour import Behaviour, Fault
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY
from tests.sdk.conftest import Gateway

HELLO: Any = [{"role": "user", "content": "Hello there"}]
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


def ask(client: OpenAI, model: str = "gpt", *, stream: bool = False, **fields: Any) -> Any:
    answer = client.chat.completions.create(
        model=model, messages=fields.pop("messages", HELLO), stream=stream, **fields
    )
    return list(answer) if stream else answer


def fields(error: openai.APIError) -> dict[str, Any]:
    """The contents of `error`, which the client has already unwrapped."""
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}
    return error.body


@STREAMED
def test_wrong_key(gateway: Gateway, provider: FakeProvider, stream):
    with pytest.raises(openai.AuthenticationError) as raised:
        ask(gateway.client(api_key="sk-wrong"), stream=stream)
    assert fields(raised.value)["type"] == "authentication_error"
    assert raised.value.code == "invalid_api_key"
    assert provider.requests == []


@STREAMED
def test_unknown_model(client: OpenAI, stream):
    with pytest.raises(openai.NotFoundError, match="gpt") as raised:
        ask(client, "gpt-99", stream=stream)
    assert raised.value.code == "model_not_found"
    assert fields(raised.value)["type"] == "invalid_request_error"


def test_disabled_model_error_names_its_variable(client: OpenAI):
    with pytest.raises(openai.APIStatusError, match="NOT_SET_KEY") as raised:
        ask(client, "off")
    fields(raised.value)


@pytest.mark.parametrize(
    ("model", "messages"), [("gpt", []), ("gpt", "text"), (None, HELLO), (7, HELLO), ("", HELLO), (["gpt"], HELLO)]
)
def test_invalid_fields(client: OpenAI, provider: FakeProvider, model, messages):
    with pytest.raises(openai.BadRequestError) as raised:
        ask(client, model, messages=messages)
    assert fields(raised.value)["type"] == "invalid_request_error"
    assert provider.requests == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"model=gpt&messages=x", b"null"])
def test_bodies_that_are_not_json_objects(gateway: Gateway, body):
    answer = httpx.post(
        f"{gateway.url}/v1/chat/completions", content=body, headers={"authorization": f"Bearer {MASTER_KEY}"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@STREAMED
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_provider_errors(client: OpenAI, provider: FakeProvider, stream, status, error):
    provider.always(f"{status},message=as ordered")
    with pytest.raises(error, match="as ordered") as raised:
        ask(client, stream=stream)
    assert raised.value.status_code == status
    fields(raised.value)


def test_provider_rate_limit_has_retry_after(client: OpenAI, provider: FakeProvider):
    provider.always(
        Behaviour(
            status=429, headers=(("retry-after", "7"), ("x-ratelimit-remaining-requests", "0"), ("set-cookie", "a=b"))
        )
    )
    with pytest.raises(openai.RateLimitError) as raised:
        ask(client)
    assert raised.value.response.headers["retry-after"] == "7"
    assert raised.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert "set-cookie" not in raised.value.response.headers


def test_client_retries_transient_errors(gateway: Gateway, provider: FakeProvider):
    provider.queue("429,retry_after=0", "500")
    client = gateway.client().with_options(max_retries=2)
    assert ask(client).choices[0].message.content == "Hello there"
    assert len(provider.requests) == 3


def test_rejected_gateway_key_is_not_the_clients_error(client: OpenAI, provider: FakeProvider):
    """The status is the provider's, but the error says where it comes from."""
    provider.always("401")
    with pytest.raises(openai.APIStatusError) as raised:
        ask(client)
    assert fields(raised.value)["type"] == "upstream_error"
    assert "sk-provider" not in str(raised.value)


@STREAMED
def test_unreachable_provider(client: OpenAI, stream):
    with pytest.raises(openai.InternalServerError) as raised:
        ask(client, "gone", stream=stream)
    assert raised.value.status_code == 502
    assert fields(raised.value)["type"] == "upstream_error"


@STREAMED
def test_timeout(client: OpenAI, provider: FakeProvider, stream):
    provider.always(Behaviour(Fault.HANG_BEFORE_HEADERS))
    with pytest.raises(openai.InternalServerError) as raised:
        ask(client, "hasty", stream=stream)
    assert raised.value.status_code == 504
    assert fields(raised.value)["type"] == "timeout_error"
    provider.wait_for(lambda: provider.last.disconnected_at)


@pytest.mark.parametrize(
    "fault",
    [Fault.GARBAGE_JSON, Fault.HTML_PAGE, Fault.HALF_CHUNK, Fault.RESET_BEFORE_HEADERS, Fault.RESET_AFTER_HEADERS],
)
def test_invalid_responses(client: OpenAI, provider: FakeProvider, fault):
    provider.always(Behaviour(fault))
    with pytest.raises(openai.InternalServerError) as raised:
        ask(client)
    assert raised.value.status_code == 502
    assert fields(raised.value)["type"] == "upstream_error"


@pytest.mark.parametrize(
    "fault",
    [
        Fault.HTML_PAGE,
        Fault.ERROR_FIRST_EVENT,
        Fault.RESET_BEFORE_HEADERS,
        Fault.RESET_AFTER_HEADERS,
    ],
)
def test_streams_that_fail_before_the_first_byte(client: OpenAI, provider: FakeProvider, fault):
    """Nothing has been sent yet, so the client gets an error status instead of a broken stream."""
    provider.always(Behaviour(fault))
    with pytest.raises(openai.InternalServerError) as raised:
        ask(client, stream=True)
    assert raised.value.status_code >= 500


@pytest.mark.parametrize("fault", [Fault.ERROR_MID_STREAM, Fault.HALF_CHUNK, Fault.RESET_MID_STREAM])
def test_truncated_streams(client: OpenAI, provider: FakeProvider, fault):
    provider.always(Behaviour(fault, after=3))
    texts = []
    stream = client.chat.completions.create(model="gpt", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError) as raised:
        texts.extend(chunk.choices[0].delta.content for chunk in stream)
    assert "".join(filter(None, texts)) == "Hello "
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["message"]


def test_truncated_stream_has_no_done(gateway: Gateway, provider: FakeProvider):
    provider.always(Behaviour(Fault.RESET_MID_STREAM))
    answer = httpx.post(
        f"{gateway.url}/v1/chat/completions",
        json={"model": "gpt", "messages": HELLO, "stream": True},
        headers={"authorization": f"Bearer {MASTER_KEY}"},
    )
    assert answer.status_code == 200
    events = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert events[-1].startswith('data: {"error":')
    assert "[DONE]" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/health", 405),
        ("GET", "/v1/models/none", 404),
        ("POST", "/v1/chat/completions/", 404),
        ("POST", "/v1//chat/completions", 404),
        ("POST", "/v1/chat%2Fcompletions", 404),
    ],
)
def test_paths_and_methods(gateway: Gateway, method, path, status):
    # A raw target, because httpx would normalize it.
    url = httpx.URL(gateway.url).copy_with(raw_path=path.encode())
    answer = httpx.request(method, url, headers={"authorization": f"Bearer {MASTER_KEY}"})
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert ("allow" in answer.headers) == (status == 405)


def test_body_over_the_limit(client: OpenAI, provider: FakeProvider):
    with pytest.raises(openai.APIStatusError) as raised:
        ask(client, messages=[{"role": "user", "content": "x" * 40_000_000}])
    assert raised.value.status_code == 413
    assert fields(raised.value)["type"] == "invalid_request_error"
    assert provider.requests == []
