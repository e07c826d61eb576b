"""The output limit sent is never above the reserved one, whatever is preset under any name."""

from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from container.accounting.reservation import PriceBook
from container.config.deployment import OUTPUT_LIMITS
from container.config.load import Config
from container.engine import Engine, engine_configuration
from container.formats import Formats
from container.formats.shared.wire import Unsupported
from container.handlers.completions import limit_output
from container.request.client_apis import parse_generate_content, parse_messages, parse_responses
from container.request.completion import Completion, parse
from container.routing.router import Router
from tests.container.conftest import LoadConfig
from tests.thorough import examples
from worker.core.pricing import prices
from worker.core.pricing.estimate import Prompt
from worker.core.values.money import fitting_step

FREE_PROMPT = {"input_cost_per_token": 0, "output_cost_per_token": 1e-6}
HOME = {"api_base": "http://127.0.0.1:1/v1"}
MODELS: dict[str, dict[str, Any]] = {
    "openai/gpt-4o": {},
    "openai/gpt-5": {},
    "openai/o3-mini": {},
    "openai/qwen": HOME,
    "azure/mine": HOME,
    "groq/openai/gpt-oss-20b": {},
    "mistral/mistral-small-latest": {},
    "deepseek/deepseek-chat": {},
    "openrouter/openai/gpt-4o": {},
    "hosted_vllm/mine": HOME,
    "anthropic/claude-haiku-4-5": {},
    "anthropic/claude-sonnet-4-5": {},
    "gemini/gemini-2.5-pro": {},
    "vertex_ai/claude-sonnet-4-5": {"vertex_project": "p", "vertex_credentials": "none.json"},
    "bedrock/anthropic.claude-haiku-4-5-20251001-v1:0": {},
}
LIMIT = st.sampled_from([1, 15, 16, 100, 1024, 5000, 20_000, 10**6])
NAMED = st.dictionaries(st.sampled_from(sorted(OUTPUT_LIMITS)), LIMIT, max_size=3)
PRESETS = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": LIMIT,
        "max_completion_tokens": LIMIT,
        "extra_body": NAMED,
        "thinking": st.just({"type": "enabled", "budget_tokens": 8000}),
        "n": st.sampled_from([1, 3]),
    },
)
COUNTS = st.fixed_dictionaries({}, optional={"n": st.sampled_from([1, 2]), "best_of": st.sampled_from([1, 4])})
INFO = st.fixed_dictionaries(
    {}, optional={"max_output_tokens": LIMIT, "base_model": st.sampled_from(["gpt-5", "azure/gpt-4o"])}
)


def configured(load_config: LoadConfig, model: str, presets: dict[str, Any], info: dict[str, Any]) -> Config:
    params = {"model": model, "api_key": "k", **MODELS[model], **presets}
    if model.startswith("vertex_ai/"):
        del params["api_key"]
    entry = {"model_name": "m", "litellm_params": params, "model_info": {**FREE_PROMPT, **info}}
    other = {"model_name": "other", "litellm_params": {"model": "openai/x", "api_key": "k"}, "model_info": FREE_PROMPT}
    fallbacks = {"router_settings": {"fallbacks": [{"m": ["other"]}]}}
    return load_config({"model_list": [entry, other], **fallbacks})


def sent_limit(body: dict[str, Any]) -> int:
    """The single limit of a body, in any wire format."""
    fields = {**body, **body.get("generationConfig", {})}
    [name] = OUTPUT_LIMITS & fields.keys()
    return fields[name]


def sent_answers(body: dict[str, Any]) -> int:
    """The number of requested choices."""
    fields = {**body, **body.get("generationConfig", {})}
    return max(fields.get(name) or 1 for name in ("n", "best_of", "candidateCount"))


def quoted(config: Config, request: Completion, endpoint: str, fields: dict[str, Any], default: int | None) -> Any:
    price_book = PriceBook(config, Router(config), default_max_output=default)
    found = price_book.quote(fields, Prompt(0), request.route, prices.charge_of_body(endpoint, fields))
    assert found.amount is not None
    return found


class Reserved(NamedTuple):
    """What a request is sent with. `amount`: tokens."""

    amount: int
    output_limit: int | None
    most_output: int | None
    limited: bool = True
    unknown_max_output: int = 4096


def reserved(found: Any, left: float) -> Any:
    """What the ledger makes of a quote if this share of the amount beyond the lowest limit's is left."""
    lowest, highest = found.steps[0][1], found.amount
    step = fitting_step(found.steps, lowest + int(left * (highest - lowest)), None)
    assert step is not None
    assert step[1] <= highest
    if step == found.steps[-1]:
        return Reserved(highest // 1000, found.add_limit, None)
    return Reserved(step[1] // 1000, step[0] if found.add_limit else None, step[0])


@settings(max_examples=examples(400, 80), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    model=st.sampled_from(sorted(MODELS)),
    presets=PRESETS,
    info=INFO,
    asked=NAMED,
    counts=COUNTS,
    endpoint=st.sampled_from(["chat_completions", "messages", "completions", "responses", "generate_content"]),
    default=st.sampled_from([None, 77, 4096, 50_000]),
    left=st.floats(0, 1),
)
def test_limit_sent_never_exceeds_the_reserved_one(
    load_config: LoadConfig,
    model: str,
    presets: dict[str, Any],
    info: dict[str, Any],
    asked: dict[str, int],
    counts: dict[str, int],
    endpoint: str,
    default: int | None,
    left: float,
):
    config = configured(load_config, model, presets, info)
    raw: dict[str, Any] = {"model": "m", **asked, **counts}
    raw |= {"prompt": "Hi"} if endpoint == "completions" else {"messages": [{"role": "user", "content": "Hi"}]}
    if endpoint == "responses":
        request = parse_responses(orjson.dumps({"model": "m", "input": "Hi", **asked}))
    elif endpoint == "generate_content":
        limits = {"maxOutputTokens": max(asked.values())} if asked else {}
        said = {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": limits}
        request = parse_generate_content(endpoint, orjson.dumps(said), "m", events=False)
    elif endpoint == "messages":
        raw.setdefault("max_tokens", 50)
        request = parse_messages("messages", orjson.dumps(raw), "")
    else:
        request = parse(endpoint, orjson.dumps(raw))
    found = reserved(quoted(config, request, endpoint, request.priced, default), left)
    limit_output(request, found._replace(unknown_max_output=default or 4096))
    formats = Formats(config.options, Engine(config, {}, start_timeout=1))
    for d in config.deployments:
        assert not d.off
        try:
            made = orjson.loads(formats.of(d, d.model, endpoint).request(d, d.model, request).body)
        except Unsupported:  # several choices from a model that returns one
            continue
        assert sent_limit(made) * sent_answers(made) <= found.amount
        assert found.most_output is None or sent_limit(made) <= max(found.most_output, 16)


@pytest.mark.parametrize("budget", [1024, 5000, 30_000])
@pytest.mark.parametrize("endpoint", ["messages", "chat_completions"])
def test_a_lowered_limit_stays_above_the_clients_thinking_budget(load_config: LoadConfig, budget: int, endpoint: str):
    """https://platform.claude.com/docs/en/build-with-claude/extended-thinking#max-tokens-and-context-window-size"""
    config = configured(load_config, "anthropic/claude-sonnet-4-5", {}, {})
    thinking = {"type": "enabled", "budget_tokens": budget}
    fields = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 32_000, "thinking": thinking}
    body = orjson.dumps(fields)
    request = parse_messages("messages", body, "") if endpoint == "messages" else parse(endpoint, body)
    found = reserved(quoted(config, request, endpoint, request.body, None), 0.0)
    limit_output(request, found)
    d = config.deployments[0]
    formats = Formats(config.options, Engine(config, {}, start_timeout=1))
    made = orjson.loads(formats.of(d, d.model, endpoint).request(d, d.model, request).body)
    assert made["thinking"]["budget_tokens"] == budget
    assert made["max_tokens"] == found.most_output == budget + 1024


def test_without_a_limit_each_model_gets_its_own_maximum(load_config: LoadConfig):
    models = {"a": "anthropic/claude-haiku-4-5", "b": "openai/gpt-4o", "c": "openai/qwen"}
    entries = [
        {
            "model_name": "m",
            "litellm_params": {"model": model, "api_key": "k", **MODELS[model]},
            "model_info": FREE_PROMPT,
        }
        for model in models.values()
    ]
    config = load_config({"model_list": entries})
    formats = Formats(config.options, Engine(config, {}, start_timeout=1))
    for default, left, sent in (
        (None, 1.0, [64_000, 16_384, 4096]),
        (5000, 1.0, [5000, 5000, 5000]),
        (None, 0.0, [1024, 1024, 1024]),
    ):
        body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})
        request = parse("chat_completions", body)
        found = reserved(quoted(config, request, "chat_completions", request.body, default), left)
        limit_output(request, found._replace(unknown_max_output=default or 4096))
        made = [
            orjson.loads(formats.of(d, d.model, "chat_completions").request(d, d.model, request).body)
            for d in config.deployments
        ]
        assert [sent_limit(one) for one in made] == sent


@pytest.mark.parametrize("where", ["top", "extra_body"])
def test_engine_has_no_own_limit_above_the_clients(load_config: LoadConfig, where: str):
    limit = {"max_tokens": 8000, "max_new_tokens": 8000}
    presets = limit if where == "top" else {"extra_body": {**limit, "top_k": 3}}
    config = configured(load_config, "bedrock/anthropic.claude-haiku-4-5-20251001-v1:0", presets, {})
    written = engine_configuration(config)
    assert "8000" not in written
    assert ("top_k" in written) == (where == "extra_body")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_clients_limit_replaces_a_preset_one(load_config: LoadConfig, model: str, name: str):
    """The limit of a Messages API request may have a different name than the preset."""
    config = configured(load_config, model, {name: 8000}, {})
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20})
    d = config.deployments[0]
    formats = Formats(config.options, Engine(config, {}, start_timeout=1))
    for endpoint, request in (
        ("messages", parse_messages("messages", body, "")),
        ("chat_completions", parse("chat_completions", body)),
    ):
        made = formats.of(d, d.model, endpoint).request(d, d.model, request)
        assert sent_limit(orjson.loads(made.body)) == 20


@pytest.mark.parametrize("model", ["anthropic/claude-sonnet-4-5", "vertex_ai/claude-sonnet-4-5"])
@pytest.mark.parametrize(("limit", "budget"), [(2000, 1999), (500, None), (20_000, 8000)])
@pytest.mark.parametrize("endpoint", ["messages", "chat_completions"])
def test_preset_thinking_fits_into_the_clients_limit(
    load_config: LoadConfig, model: str, limit: int, budget: int | None, endpoint: str
):
    config = configured(load_config, model, {"thinking": {"type": "enabled", "budget_tokens": 8000}}, {})
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": limit})
    request = parse_messages("messages", body, "") if endpoint == "messages" else parse(endpoint, body)
    d = config.deployments[0]
    formats = Formats(config.options, Engine(config, {}, start_timeout=1))
    made = orjson.loads(formats.of(d, d.model, endpoint).request(d, d.model, request).body)
    if endpoint == "messages" and model.startswith("vertex_ai/"):
        return  # called through chat completions
    assert made.get("thinking", {}).get("budget_tokens") == budget
    assert made["max_tokens"] == limit


def test_limit_is_clamped_to_the_models_range(load_config: LoadConfig):
    for model, asked, name, sent in (
        ("openai/gpt-4o", 32_000, "max_tokens", 16_384),
        ("openai/gpt-5", 1, "max_completion_tokens", 16),
        ("anthropic/claude-haiku-4-5", 100_000, "max_tokens", 64_000),
        ("groq/openai/gpt-oss-20b", 200_000, "max_tokens", 65_536),
    ):
        config = configured(load_config, model, {}, {})
        d = config.deployments[0]
        body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": asked})
        formats = Formats(config.options, Engine(config, {}, start_timeout=1))
        made = formats.of(d, d.model, "messages").request(d, d.model, parse_messages("messages", body, ""))
        assert orjson.loads(made.body)[name] == sent


@pytest.mark.parametrize(("asked", "sent"), [("standard_only", "default"), ("auto", "auto"), (None, "priority")])
def test_service_tier_charged_is_the_one_sent(load_config: LoadConfig, asked, sent):
    config = configured(load_config, "openai/gpt-5", {"service_tier": "priority"}, {})
    d = config.deployments[0]
    fields = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20, "service_tier": asked}
    request = parse_messages("messages", orjson.dumps(fields), "")
    formats = Formats(config.options, Engine(config, {}, start_timeout=1))
    assert orjson.loads(formats.of(d, d.model, "messages").request(d, d.model, request).body)["service_tier"] == sent
