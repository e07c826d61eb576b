"""Which wire format a deployment is called in."""

from dataclasses import replace

import orjson
import pytest

from container.engine.supervisor import Engine
from container.formats import Formats
from container.formats.shared.format import Malformed, Unsupported
from container.request.completion import parse
from container.request.messages import parse_messages

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize("endpoint", ["chat_completions", "completions", "embeddings"])
def test_openais_format_serves_every_endpoint(formats, deployment, endpoint):
    d = deployment(model="openai/x", api_key="k", api_base="http://h/v1")
    url = formats.of(d, "x", endpoint).url(d, d.base, "x", endpoint, stream=False)
    assert url == "http://h/v1/" + endpoint.replace("chat_", "chat/")


def test_what_is_litellms_to_know_goes_to_the_engine(formats, deployment):
    d = deployment(model="azure/x", api_key="k", api_base="https://h", azure_ad_token="t")
    format = formats.of(d, "x", "embeddings")
    assert format.url(d, "http://127.0.0.1:1/v1", "x", "embeddings", stream=False) == "http://127.0.0.1:1/v1/embeddings"


def test_the_engine_gets_the_usual_name_of_the_output_limit(formats, deployment):
    d = deployment(model="openai/x", api_key="k", azure_ad_token="t", info={"id": "dep"})
    request = parse("chat_completions", orjson.dumps(CHAT))
    request.output_limit = 7
    sent = formats.of(d, "x", "chat_completions").request(d, "x", request)
    assert orjson.loads(sent.body) == {**CHAT, "model": "dep", "max_tokens": 7}


def test_what_is_authority_to_litellm_does_not_reach_the_engine(formats, deployment):
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
def test_the_engine_is_shown_no_field_that_is_not_known(formats, deployment, endpoint, name):
    """LiteLLM's providers take addresses, credentials and limits of their own out of a request."""
    d = deployment(model="watsonx/x", info={"id": "dep"})
    request = _asked(endpoint, {name: FOREIGN[name]})
    with pytest.raises(Unsupported) as caught:
        formats.of(d, "x", endpoint).request(d, "x", request)
    assert caught.value.param == name


@pytest.mark.parametrize("endpoint", ["chat_completions", "messages"])
def test_with_drop_params_such_fields_are_left_out(load_config, deployment, endpoint):
    d = deployment(model="watsonx/x", info={"id": "dep"})
    config = load_config({"model_list": [{"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": "k"}}]})
    formats = Formats(replace(config.options, drop_params=True), Engine(config, {}, start_timeout=1))
    sent = formats.of(d, "x", endpoint).request(d, "x", _asked(endpoint, FOREIGN))
    assert not FOREIGN.keys() & orjson.loads(sent.body).keys()


@pytest.mark.parametrize("limited", [False, True])
def test_under_a_limit_nobody_asks_for_a_longer_window_than_was_set_aside_for(formats, deployment, limited):
    d = deployment(model="anthropic/claude-sonnet-4-5", api_key="k")
    request = parse_messages("messages", orjson.dumps({**CHAT, "max_tokens": 1}), "context-1m-2025-08-07,other-1")
    request.limited = limited
    sent = formats.of(d, "x", "messages").request(d, "x", request)
    assert sent.headers["anthropic-beta"] == ("other-1" if limited else "context-1m-2025-08-07,other-1")


def _asked(endpoint, fields):
    raw = orjson.dumps({**CHAT, "max_tokens": 1, **fields})
    return parse(endpoint, raw) if endpoint == "chat_completions" else parse_messages(endpoint, raw, "")


@pytest.mark.parametrize(("error", "kind"), [(Unsupported, "unsupported"), (Malformed, "caller")])
def test_what_a_provider_cannot_take_may_be_taken_by_another_and_what_is_malformed_may_not(error, kind):
    outcome = error("seed", "'seed' is not known to Anthropic.").outcome()
    assert (outcome.kind, outcome.status, outcome.param) == (kind, 400, "seed")
