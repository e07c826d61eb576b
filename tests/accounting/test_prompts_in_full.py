"""All input of a request is reserved, under whatever name: a provider's own count never exceeds the reservation."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.accounting.conftest import Ledgered
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import IN, OUT
from tests.processes import StartProxy

WINDOW = 1_000_000
LONG = "The quick brown fox jumps over the lazy dog. " * 20_000
READ = 200_000  # its tokens by OpenAI's count
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "description": LONG}}}
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
EVERY = ("gpt", "claude", "gemini")


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy, provider: FakeProvider) -> Ledgered:
    def model(name: str, upstream: str, base: str, **info: Any) -> dict[str, Any]:
        prices = {"input_cost_per_token": IN, "output_cost_per_token": OUT, "max_input_tokens": WINDOW}
        params = {"model": upstream, "api_base": base, "api_key": "sk-provider"}
        return {"model_name": name, "litellm_params": params, "model_info": {**prices, **info}}

    models = [
        model("gpt", "openai/gpt-x", provider.openai_base),
        model("claude", "anthropic/claude-sonnet-4-6", provider.url, cache_creation_input_token_cost=1.25 * IN),
        model("gemini", "gemini/gemini-2.5-flash", provider.gemini_base),
        model("embedding", "openai/emb", provider.openai_base, max_input_tokens=8191, output_cost_per_token=0),
        model("instruct", "openai/instruct", provider.openai_base, max_input_tokens=4096),
    ]
    settings = {"num_retries": 0, "disable_cooldowns": True}
    return Ledgered(module_proxy({"model_list": models, "router_settings": settings}))


def reserved(gateway: Ledgered, path: str, model: str, **fields: Any) -> float:
    """US dollars reserved for a request that the proxy sends upstream."""
    key = gateway.key(max_budget=1000)
    body = {"model": model, **fields}
    if path in (CHAT, MESSAGES):
        body = {"max_tokens": 10, "messages": [{"role": "user", "content": "x"}], **body}
    answer = gateway.http.post(path, json=body, headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    gateway.settled()
    [line] = gateway.logs(key)
    assert line["spend"] <= line["reserved"]
    return line["reserved"]


@pytest.fixture(autouse=True)
def much_is_read(provider: FakeProvider) -> None:
    provider.reset()
    provider.always(Behaviour(usage=(READ, 10)))


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("model", EVERY)
def test_text_in_a_message_typed_as_an_image(gateway: Ledgered, path: str, model: str) -> None:
    messages = [{"role": "user", "type": "image", "content": LONG}]
    assert reserved(gateway, path, model, messages=messages) >= READ * IN


def test_text_in_a_call_or_a_function_typed_as_an_image(gateway: Ledgered) -> None:
    call = {"type": "image", "id": "a", "function": {"name": "f", "arguments": '{"x": "' + LONG + '"}'}}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "z"},
    ]
    assert reserved(gateway, CHAT, "claude", messages=messages) >= READ * IN
    functions = [{"type": "image", "name": "f", "description": LONG}]
    assert reserved(gateway, CHAT, "gemini", functions=functions) >= READ * IN


@pytest.mark.parametrize("model", EVERY)
@pytest.mark.parametrize("field", ["output_config", "output_format"])
def test_the_schema_of_a_response_format(gateway: Ledgered, model: str, field: str) -> None:
    asked = {"type": "json_schema", "schema": SCHEMA}
    value = {"format": asked} if field == "output_config" else asked
    assert reserved(gateway, MESSAGES, model, **{field: value}) >= READ * IN


def test_cache_markers_beside_messages_and_in_functions(gateway: Ledgered) -> None:
    marker = {"type": "ephemeral", "ttl": "1h"}
    messages = [{"role": "user", "content": LONG}]
    plain = reserved(gateway, MESSAGES, "claude", messages=messages)
    assert reserved(gateway, MESSAGES, "claude", messages=messages, cache_control=marker) > 1.99 * plain
    function = {"name": "f", "description": LONG}
    plain, marked = (
        reserved(gateway, CHAT, "claude", tools=[{"type": "function", "function": made}])
        for made in (function, {**function, "cache_control": marker})
    )
    assert marked > 1.99 * plain


def test_several_texts_do_not_share_one_context_window(gateway: Ledgered, provider: FakeProvider) -> None:
    text = "The quick brown fox jumps. "
    provider.always(Behaviour(usage=(40 * 6000, 0)))
    assert reserved(gateway, "/v1/embeddings", "embedding", input=[text * 1000] * 40) >= 40 * 6000 * IN
    provider.always(Behaviour(usage=(40 * 3500, 40)))
    asked = {"prompt": [text * 580] * 40, "max_tokens": 1}
    assert reserved(gateway, "/v1/completions", "instruct", **asked) >= 40 * 3500 * IN + 40 * OUT


@pytest.mark.parametrize(
    "part",
    [
        {"type": "audio_url", "audio_url": {"url": "https://a.b/c.mp3"}},
        {"type": "made_up", "id": "kept_1"},
        {"video_url": {"url": "https://a.b/c.mp4"}},
        {"image_url": {"url": "https://a.b/c", "format": "video/mp4"}},
    ],
)
def test_unknown_content_parts(gateway: Ledgered, part: dict[str, Any]) -> None:
    assert reserved(gateway, CHAT, "gpt", messages=[{"role": "user", "content": [part]}]) >= WINDOW * IN


def test_audio_stored_by_the_provider(gateway: Ledgered) -> None:
    messages = [{"role": "assistant", "audio": {"id": "audio_1"}}, {"role": "user", "content": "x"}]
    assert reserved(gateway, CHAT, "gpt", messages=messages) >= WINDOW * IN


def test_a_compacted_context(gateway: Ledgered) -> None:
    management = {"edits": [{"type": "compact_20260112"}]}
    assert reserved(gateway, MESSAGES, "claude", context_management=management) >= WINDOW * IN


FILM = {"type": "base64", "media_type": "video/mp4", "data": "AAAA"}
REFUSED: list[tuple[str, dict[str, Any]]] = [
    (MESSAGES, {"messages": [{"role": "user", "content": [{"type": "image", "source": FILM}]}]}),
    (MESSAGES, {"messages": [{"role": "user", "content": [{"type": "image", "source": {
        "type": "url", "url": "data:video/mp4;base64,AAAA"}}]}]}),
    (MESSAGES, {"messages": [{"role": "user", "content": [{"type": "image", "source": {
        **FILM, "media_type": "application/pdf"}}]}]}),
    (CHAT, {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "images": [
        {"image_url": {"url": "https://www.youtube.com/watch?v=1", "format": "video/mp4"}}]}]}),
    (CHAT, {"messages": [{"role": "user", "content": "x"}], "functions": [{"urlContext": {}}]}),
    (CHAT, {"messages": [{"role": "user", "content": "x"}], "functions": [{"googleSearch": {}}]}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "fields"), REFUSED, ids=lambda value: str(value)[:80])
def test_content_of_the_wrong_type_is_not_sent_upstream(
    gateway: Ledgered, provider: FakeProvider, path: str, fields: dict[str, Any]
) -> None:
    before = len(provider.requests)
    key = gateway.key(max_budget=1000)
    body = {"model": "gemini", "max_tokens": 10, **fields}
    answer = gateway.http.post(path, json=body, headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 400, answer.text
    assert len(provider.requests) == before


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_ordinary_requests_are_not_reserved_at_the_full_context(
    gateway: Ledgered, provider: FakeProvider, path: str
) -> None:
    provider.always(Behaviour(usage=(10, 10)))
    tool: dict[str, Any] = {"name": "f", "description": "d"}
    schema = {"type": "object", "properties": {"file": {"type": "string"}}}
    if path == CHAT:
        tool = {"type": "function", "function": {**tool, "parameters": schema}}
    else:
        tool["input_schema"] = schema
    assert reserved(gateway, path, "claude", tools=[tool], metadata={"user_id": "u"}) < 1200 * IN
