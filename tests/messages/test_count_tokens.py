"""Token counts with Anthropic's SDK: Anthropic's own for Claude, an estimate of ours for every other model."""

from typing import Any

import anthropic
import pytest

from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, StartProxy

# About 1,000 tokens of every tokenizer.
TEXT = "The answer to most of the questions in this letter is that nobody has ever tried it. " * 55


def count(client: anthropic.Anthropic, model: str, content: Any = TEXT, **more: Any) -> int:
    messages: Any = [{"role": "user", "content": content}]
    return client.messages.count_tokens(model=model, messages=messages, **more).input_tokens


def test_claude_is_asked(client: anthropic.Anthropic, provider: FakeProvider):
    count(client, "claude")
    assert provider.last.path == "/v1/messages/count_tokens"


@pytest.mark.parametrize("model", ["gpt", "thinker", "gemini", "mock"])
def test_other_models_are_estimated_without_a_request(client: anthropic.Anthropic, provider: FakeProvider, model: str):
    assert 900 <= count(client, model) <= 1_300
    assert not provider.requests


def test_tools_the_system_prompt_and_pictures_count(client: anthropic.Anthropic, provider: FakeProvider):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    bare = count(client, "gpt")
    assert count(client, "gpt", system=TEXT) > bare + 800
    assert count(client, "gpt", tools=[{"name": "weather", "input_schema": schema}]) > bare + 10
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    picture = {"type": "image", "source": source}
    assert 1_000 < count(client, "gpt", [{"type": "text", "text": TEXT}, picture]) - bare < 2_000


def test_the_messages_are_required(client: anthropic.Anthropic):
    with pytest.raises(anthropic.BadRequestError):
        client.post("/v1/messages/count_tokens", body={"model": "gpt"}, cast_to=object)


def test_the_engine_is_not_asked(module_proxy: StartProxy, provider: FakeProvider):
    # A parameter that only LiteLLM knows sends the model through the engine.
    params = {"model": "anthropic/claude-sonnet-4-6", "api_base": provider.url, "api_key": "k", "azure_scope": "nobody"}
    gateway = module_proxy({"model_list": [{"model_name": "far", "litellm_params": params}]})
    far = anthropic.Anthropic(base_url=gateway.url, api_key=MASTER_KEY, max_retries=0, timeout=2)
    assert count(far, "far") >= 900  # long before the engine has started
    assert not provider.requests
