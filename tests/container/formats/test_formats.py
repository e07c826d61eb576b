"""The wire format used for a deployment."""

from dataclasses import replace

import orjson
import pytest

from container.engine import Engine
from container.formats import Formats
from container.formats.shared.wire import Malformed, Unsupported
from container.request.client_apis import parse_messages
from container.request.completion import parse

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize("endpoint", ["chat_completions", "completions", "embeddings"])
def test_openai_format_supports_every_endpoint(formats, deployment, endpoint):
    d = deployment(model="openai/x", api_key="k", api_base="http://h/v1")
    url = formats.of(d, "x", endpoint).url(d, d.base, "x", endpoint, stream=False)
    assert url == "http://h/v1/" + endpoint.replace("chat_", "chat/")


def test_litellm_only_deployment_uses_the_engine(formats, deployment):
    d = deployment(model="azure/x", api_key="k", api_base="https://h", azure_ad_token="t")
    format = formats.of(d, "x", "embeddings")
    assert format.url(d, "http://127.0.0.1:1/v1", "x", "embeddings", stream=False) == "http://127.0.0.1:1/v1/embeddings"


def test_engine_gets_the_usual_name_of_the_output_limit(formats, deployment):
    d = deployment(model="openai/x", api_key="k", azure_ad_token="t", info={"id": "dep"})
    request = parse("chat_completions", orjson.dumps(CHAT))
    request.output_limit = 7
    sent = formats.of(d, "x", "chat_completions").request(d, "x", request)
    assert orjson.loads(sent.body) == {**CHAT, "model": "dep", "max_tokens": 7}


def test_authority_fields_of_litellm_do_not_reach_the_engine(formats, deployment):
    d = deployment(model="openai/x", api_key="k", azure_ad_token="t", info={"id": "dep"})
    request = parse("chat_completions", orjson.dumps({**CHAT, "metadata": {"guardrails": []}, "tags": ["a"]}))
    sent = formats.of(d, "x", "chat_completions").request(d, "x", request)
    assert orjson.loads(sent.body) == {**CHAT, "model": "dep"}


FOREIGN = {
    "url": "http://elsewhere.example",
    "wx_credentials": {"url": "http://elsewhere.example"},
    "num_generations": 5,
    "chat_history": [{"message": "much"}],
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("endpoint", ["chat_completions", "messages"])
def test_unknown_fields_do_not_reach_the_engine(formats, deployment, endpoint, name):
    """LiteLLM's providers accept addresses, credentials and limits in request fields."""
    d = deployment(model="watsonx/x", info={"id": "dep"})
    request = _asked(endpoint, {name: FOREIGN[name]})
    with pytest.raises(Unsupported) as caught:
        formats.of(d, "x", endpoint).request(d, "x", request)
    assert caught.value.param == name


@pytest.mark.parametrize("endpoint", ["chat_completions", "messages"])
def test_unknown_fields_are_dropped_with_drop_params(load_config, deployment, endpoint):
    d = deployment(model="watsonx/x", info={"id": "dep"})
    config = load_config({"model_list": [{"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": "k"}}]})
    formats = Formats(replace(config.options, drop_params=True), Engine(config, {}, start_timeout=1))
    sent = formats.of(d, "x", endpoint).request(d, "x", _asked(endpoint, FOREIGN))
    assert not FOREIGN.keys() & orjson.loads(sent.body).keys()


@pytest.mark.parametrize("limited", [False, True])
def test_longer_context_than_reserved_cannot_be_requested_under_a_budget(formats, deployment, limited):
    d = deployment(model="anthropic/claude-sonnet-4-5", api_key="k")
    request = parse_messages("messages", orjson.dumps({**CHAT, "max_tokens": 1}), "context-1m-2025-08-07,other-1")
    request.limited = limited
    sent = formats.of(d, "x", "messages").request(d, "x", request)
    assert sent.headers["anthropic-beta"] == ("other-1" if limited else "context-1m-2025-08-07,other-1")


def _asked(endpoint, fields):
    raw = orjson.dumps({**CHAT, "max_tokens": 1, **fields})
    return parse(endpoint, raw) if endpoint == "chat_completions" else parse_messages(endpoint, raw, "")


@pytest.mark.parametrize(("error", "kind"), [(Unsupported, "unsupported"), (Malformed, "caller")])
def test_unsupported_request_may_use_another_provider_and_malformed_request_may_not(error, kind):
    outcome = error("seed", "'seed' is not known to Anthropic.").outcome()
    assert (outcome.kind, outcome.status, outcome.param) == (kind, 400, "seed")
