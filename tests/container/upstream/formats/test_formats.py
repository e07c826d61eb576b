"""Which wire format a deployment is called in."""

import orjson
import pytest

from container.engine.supervisor import Engine
from container.request.completion import parse
from container.upstream.formats import Formats, Malformed, Unsupported

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def formats(load_config) -> Formats:
    entry = {"model_name": "m", "litellm_params": {"model": "openai/x", "api_key": "k"}}
    config = load_config({"model_list": [entry]})
    return Formats(config.options, Engine(config, {}, start_timeout=1))


@pytest.mark.parametrize("endpoint", ["chat_completions", "completions", "embeddings"])
def test_openais_format_serves_every_endpoint(formats, deployment, endpoint):
    d = deployment(model="openai/x", api_key="k", api_base="http://h/v1")
    url = formats.of(d, "x", endpoint).url(d, d.base, "x", endpoint, stream=False)
    assert url == "http://h/v1/" + endpoint.replace("chat_", "chat/")


def test_what_is_litellms_to_know_goes_to_the_engine(formats, deployment):
    d = deployment(model="azure/x", api_key="k", api_base="https://h", use_in_pass_through=True)
    format = formats.of(d, "x", "embeddings")
    assert format.url(d, "http://127.0.0.1:1/v1", "x", "embeddings", stream=False) == "http://127.0.0.1:1/v1/embeddings"


def test_the_engine_gets_the_usual_name_of_the_output_limit(formats, deployment):
    d = deployment(model="openai/x", api_key="k", use_in_pass_through=True, info={"id": "dep"})
    request = parse("chat_completions", orjson.dumps(CHAT))
    request.output_limit = 7
    sent = formats.of(d, "x", "chat_completions").request(d, "x", request)
    assert orjson.loads(sent.body) == {**CHAT, "model": "dep", "max_tokens": 7}


def test_what_is_authority_to_litellm_does_not_reach_the_engine(formats, deployment):
    d = deployment(model="openai/x", api_key="k", use_in_pass_through=True, info={"id": "dep"})
    request = parse("chat_completions", orjson.dumps({**CHAT, "metadata": {"guardrails": []}, "tags": ["a"]}))
    sent = formats.of(d, "x", "chat_completions").request(d, "x", request)
    assert orjson.loads(sent.body) == {**CHAT, "model": "dep"}


@pytest.mark.parametrize(("error", "kind"), [(Unsupported, "unsupported"), (Malformed, "caller")])
def test_what_a_provider_cannot_take_may_be_taken_by_another_and_what_is_malformed_may_not(error, kind):
    outcome = error("seed", "'seed' is not known to Anthropic.").outcome()
    assert (outcome.kind, outcome.status, outcome.param) == (kind, 400, "seed")
