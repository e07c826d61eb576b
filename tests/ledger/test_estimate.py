"""Token estimates against real tokenizers: never under, and not far over."""

import json
import statistics
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.corpus import CORPUS, USUAL
from tests.ledger.tokenizers import Tokenizer, loaded
from worker.core.pricing import prices
from worker.core.pricing.estimate import (
    AN_HOUR,
    CL100K,
    FIVE_MINUTES,
    LARGEST,
    NOT_CACHED,
    O200K,
    Prompt,
    prompt,
    text_tokens,
)
from worker.core.pricing.prices import Price
from worker.core.pricing.prices import charge_of_body as of_body
from worker.core.pricing.quote import most, quote
from worker.core.pricing.usage import Usage


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    return loaded()


# The tables are fitted to these tokenizers; the largest table is for unknown ones.
TABLES = [(O200K, "o200k"), (CL100K, "cl100k"), (LARGEST, "claude"), (LARGEST, "o200k"), (LARGEST, "cl100k")]
# Each tokenizer, with the table used to estimate its models.
PAIRS = TABLES[:3]


@pytest.mark.parametrize(("table", "tokenizer"), TABLES)
def test_an_estimate_is_never_under_the_exact_count(
    table: str, tokenizer: str, tokenizers: dict[str, Tokenizer]
) -> None:
    count = tokenizers[tokenizer]
    estimated = {name: (text_tokens(text, table), count(text)) for name, text in CORPUS.items()}
    assert {name: both for name, both in estimated.items() if both[0] < both[1]} == {}


def test_the_median_estimate_is_at_most_one_and_a_half_times_the_exact_count(tokenizers: dict[str, Tokenizer]) -> None:
    ratios = {
        tokenizer: [text_tokens(text, table) / tokenizers[tokenizer](text) for text in USUAL]
        for table, tokenizer in PAIRS
    }
    assert statistics.median(chain(*ratios.values())) <= 1.5
    assert {tokenizer: each for tokenizer, each in ratios.items() if statistics.median(each) > 1.55} == {}


def test_the_estimate_of_the_whole_corpus(tokenizers: dict[str, Tokenizer]) -> None:
    text = "\n\n".join(CORPUS.values())
    for table, tokenizer in TABLES:
        assert 1 <= text_tokens(text, table) / tokenizers[tokenizer](text) <= 2


@given(st.lists(st.sampled_from([*USUAL, *"aZ9 .\n\té語🙂"]), max_size=6).map("".join))
def test_joined_texts_are_not_underestimated(tokenizers: dict[str, Tokenizer], text: str) -> None:
    """For ordinary texts, within a token or two at the joins, which the overhead of a message covers. Endless words
    that nobody writes can still hide beside many short ones.
    """
    for table, tokenizer in PAIRS:
        assert text_tokens(text, table) + 2 >= tokenizers[tokenizer](text)


def test_a_lone_surrogate_is_counted() -> None:
    assert text_tokens("\ud83d" * 10) >= 20


def chat(*contents: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content} for content in contents], **fields}


@pytest.mark.parametrize("text", ["word " * 100_000, "é🙂語 " * 100_000, "ﷺ" * 200_000, "{}[]" * 100_000])
def test_the_tail_of_a_very_long_text_is_not_underestimated(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = text_tokens(text)
    monkeypatch.setattr("worker.core.pricing.estimate._MOST_COUNTED", 1000)
    assert text_tokens(text) >= counted


def test_text_is_counted_in_every_field() -> None:
    text = CORPUS["prose: english"]
    alone = prompt(chat("")).tokens()
    for body in (
        chat(text),
        chat([{"type": "text", "text": text}]),
        {"prompt": text},
        {"prompt": [text, "more"]},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": text}]}]},
        {**chat("hi"), "system": text},
        {**chat("hi"), "response_format": {"type": "json_schema", "json_schema": {"description": text}}},
        {**chat("hi"), "tools": [{"type": "function", "function": {"name": "f", "description": text}}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": text}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [{"text": text}]}]}]},
    ):
        assert prompt(body).tokens() >= text_tokens(text) - 3, body
    assert alone < 40


def test_token_ids_count_one_each() -> None:
    assert 1000 <= prompt({"prompt": list(range(1000))}).tokens() < 1100
    assert 1000 <= prompt({"input": [list(range(500)), list(range(500))]}).tokens() < 1100


def test_tools_include_the_providers_overhead() -> None:
    tools = [json.loads(line) for line in CORPUS["code: tools"].splitlines()]
    assert prompt(chat("hi", tools=tools)).tokens() >= 700 + text_tokens(json.dumps(tools, separators=(",", ":")))


_FUNCTION = {"type": "function", "name": "spawn", "parameters": {"type": "object"}}
_NAMESPACE = {"type": "namespace", "name": "agents", "description": "Others.", "tools": [_FUNCTION] * 3}


def test_the_name_of_a_namespace_counts_for_each_of_its_tools() -> None:
    """A model without namespaces gets it as the prefix of every name."""
    name = "agents of mine " * 50
    group = {**_NAMESPACE, "name": name, "tools": [_FUNCTION] * 100}
    assert prompt({"tools": [group]}).tokens() >= 100 * text_tokens(name)


def test_tools_in_a_namespace_count_like_others() -> None:
    """Codex sends some of its tools like this, and declares all of them in the conversation for newer models."""
    found = prompt({"input": "hi", "tools": [_NAMESPACE]})
    assert not found.unbounded
    assert found.tokens() >= prompt({"input": "hi", "tools": [_FUNCTION] * 3}).tokens()
    declared = {"type": "additional_tools", "id": "at_1", "role": "developer", "tools": [_NAMESPACE]}
    found = prompt({"input": [declared, {"type": "message", "role": "user", "content": "hi"}]})
    assert not found.unbounded
    assert found.tokens() >= prompt({"input": "hi", "tools": [_FUNCTION] * 3}).tokens()


@pytest.mark.parametrize(
    "tool",
    [
        {**_NAMESPACE, "tools": [{"type": "web_search"}]},
        {**_NAMESPACE, "file_url": "https://example.com/a.pdf"},
        {**_NAMESPACE, "tools": [_NAMESPACE]},
    ],
)
def test_a_namespace_does_not_hide_content_of_unknown_size(tool: dict[str, Any]) -> None:
    assert prompt({"input": "hi", "tools": [tool]}).unbounded
    declared = {"type": "additional_tools", "role": "developer", "tools": [tool]}
    assert prompt({"input": [declared]}).unbounded
    assert prompt({"input": [{**declared, "tools": [], "file_url": "https://example.com/a.pdf"}]}).unbounded


def test_images_are_counted_and_their_bytes_are_not() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    found = prompt(chat([picture, picture, {"type": "text", "text": "what is this?"}]))
    assert found.images == 2
    assert found.tokens() < 100


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (chat([{"type": "file", "file": {"file_id": "file-1"}}]), "file"),
        (chat([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]), "input_audio"),
        (chat([{"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}]), "document"),
        ({"input": "and then?", "previous_response_id": "resp_1"}, "previous_response_id"),
        (chat("news?", web_search_options={"search_context_size": "low"}), "web_search_options"),
        (chat("news?", web_search_options={}), "web_search_options"),
        (chat("news?", plugins=[{"id": "web"}]), "plugins"),
        (chat("news?", search_parameters={"mode": "auto"}), "search_parameters"),
        (chat("news?", data_sources=[{"type": "azure_search"}]), "data_sources"),
        (chat("news?", enable_search=True), "enable_search"),
        (chat("news?", tools=[{"type": "web_search_20250305", "name": "web_search"}]), "web_search_20250305"),
        (chat("news?", tools=[{"googleSearch": {}}]), "googleSearch"),
        (chat("and then?", cached_content="cachedContents/1"), "cached_content"),
        (chat([{"type": "image_url", "image_url": "data:application/pdf;base64,AAAA"}]), "image_url"),
        (chat([{"type": "image_url", "image_url": {"url": "gs://a/b", "format": "video/mp4"}}]), "image_url"),
        (chat("news?", tools=[{"type": ["function"]}]), "['function']"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ],
)
def test_content_of_unknown_size_is_named(body: dict[str, Any], named: str) -> None:
    assert named in prompt(body).unbounded


def test_disabled_options_are_bounded() -> None:
    for nothing in (None, False, [], ""):
        assert prompt(chat("hi", web_search_options=nothing, mcp_servers=nothing, container=nothing)).unbounded == ()


def test_deep_nesting_does_not_recurse() -> None:
    body: Any = "deep"
    for _ in range(50_000):
        body = [body]
    assert prompt({"input": body}).tokens() > 0


def price(**fields: Any) -> Price:
    made = prices.price({"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, **fields})
    assert made is not None
    return made


def test_the_most_expensive_candidate_is_reserved() -> None:
    cheap, dear = price(), price(output_cost_per_token=5e-6)
    found = quote({"max_tokens": 100}, Prompt(10), [("a", cheap), ("b", dear)])
    assert (found.amount, found.tokens, found.add_limit) == (10 * 1000 + 100 * 5000, 110, None)


def test_each_candidate_is_estimated_with_its_own_tokenizer() -> None:
    asked = prompt(chat(CORPUS["prose: russian"], max_tokens=1))
    dense, unknown = {**price(), "tokenizer": O200K}, price()
    alone, other = (quote({"max_tokens": 1}, asked, [("a", p)]) for p in (dense, unknown))
    assert alone.tokens == asked.tokens(O200K) + 1 < other.tokens == asked.tokens(LARGEST) + 1
    together = quote({"max_tokens": 1}, asked, [("a", dense), ("b", unknown)])
    assert together == quote({"max_tokens": 1}, asked, [("b", unknown), ("a", dense)]) == other
    # A cheap fallback with a larger token count does not lower the amount.
    dear = {**price(input_cost_per_token=1e-3), "tokenizer": O200K}
    found = quote({"max_tokens": 1}, asked, [("a", dear), ("b", unknown)])
    assert found.amount == quote({"max_tokens": 1}, asked, [("a", dear)]).amount
    assert found.tokens == other.tokens


def test_a_request_without_an_output_limit_gets_one() -> None:
    found = quote({}, Prompt(10), [("a", price())])
    assert (found.amount, found.add_limit) == (10 * 1000 + 4096 * 2000, 4096)
    assert quote({}, Prompt(10), [("a", price())], default_max_output=100).add_limit == 100


def test_several_choices_multiply_the_output() -> None:
    assert quote({"max_tokens": 10, "n": 3}, Prompt(0), [("a", price())]).amount == 3 * 10 * 2000
    assert quote({"max_tokens": 10, "n": 2, "best_of": 5}, Prompt(0), [("a", price())]).amount == 5 * 10 * 2000


@pytest.mark.parametrize(
    ("asked", "prompts"),
    [("one", 1), ([1, 2, 3], 1), (["one", "two"], 2), ([[1, 2], [3], [4]], 3), ([], 1)],
)
def test_each_of_several_prompts_is_answered(asked: Any, prompts: int) -> None:
    found = quote({"prompt": asked, "max_tokens": 10, "n": 2}, Prompt(0), [("a", price())])
    assert (found.amount, found.tokens) == (prompts * 2 * 10 * 2000, prompts * 20)


@pytest.mark.parametrize(
    ("endpoint", "meant", "least"),
    [
        ("chat_completions", {"max_tokens", "max_completion_tokens"}, 1),
        ("completions", {"max_tokens", "max_completion_tokens"}, 1),
        ("messages", {"max_tokens"}, 1),
        ("responses", {"max_output_tokens"}, 16),
    ],
)
def test_an_output_limit_the_endpoint_does_not_know_is_ignored(endpoint: str, meant: set[str], least: int) -> None:
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        body = {name: 1}
        found = most(body, Prompt(0), [("a", price())], of_body(endpoint, body), 4096)
        limit = least if name in meant else 4096
        assert (found.tokens, found.add_limit) == (limit, None if name in meant else 4096), name


def test_a_limit_below_the_models_minimum_costs_the_minimum() -> None:
    of_gpt_5 = {**price(), "min_output": 16}
    assert quote({"max_tokens": 1}, Prompt(0), [("a", of_gpt_5)]).amount == 16 * 2000
    assert quote({"max_tokens": 1}, Prompt(0), [("a", price()), ("b", of_gpt_5)]).tokens == 16
    assert quote({"input": "a"}, Prompt(0), [("a", of_gpt_5)], limits=()).tokens == 0


def test_a_limit_above_the_models_maximum_costs_the_maximum() -> None:
    assert quote({"max_completion_tokens": 10**6}, Prompt(0), [("a", price(max_output_tokens=50))]).amount == 100_000


def test_embeddings_have_no_output() -> None:
    found = quote({}, Prompt(10), [("a", price())], limits=())
    assert (found.amount, found.tokens, found.add_limit) == (10_000, 10, None)


def test_images_have_a_token_ceiling_per_model() -> None:
    entry = {"input_cost_per_token": 1e-6, "output_cost_per_token": 0}
    usual, mini = prices.price(entry, "gpt-4o"), prices.price(entry, "openai/gpt-4o-mini")
    own = prices.price({**entry, "max_image_tokens": 1600}, "gpt-4o")
    found = [quote({}, Prompt(0, images=2), [("a", p)]).amount for p in (usual, mini, own)]
    assert found == [2 * 8192 * 1000, 2 * 48_169 * 1000, 2 * 1600 * 1000]


def test_unbounded_input_costs_the_context_window_or_is_refused() -> None:
    unbounded = Prompt(10, unbounded=("file",))
    assert quote({"max_tokens": 1}, unbounded, [("a", price(max_input_tokens=1000))]).amount == 1_000_000 + 2000
    refused = quote({"max_tokens": 1}, unbounded, [("a", price(max_input_tokens=1000)), ("b", price())])
    assert refused.amount is None
    assert "max_input_tokens" in refused.unpriced
    assert "'b'" in refused.unpriced


def test_an_unpriced_fallback_has_no_reservation() -> None:
    found = quote({"max_tokens": 7}, Prompt(10), [("a", price()), ("b", None)])
    assert (found.amount, found.tokens) == (None, 17)
    assert "input_cost_per_token" in found.unpriced


def test_priority_is_reserved_where_it_may_apply() -> None:
    tiered = price(input_cost_per_token_priority=4e-6)
    amounts = [
        quote({"max_tokens": 0, "service_tier": tier}, Prompt(10), [("a", tiered)], limits=()).amount
        for tier in ("default", "priority", "auto")
    ]
    assert amounts == [10_000, 40_000, 40_000]


@pytest.mark.parametrize(
    ("cached", "known", "each"),
    [
        (NOT_CACHED, {}, 1000),
        (FIVE_MINUTES, {}, 1250),
        (AN_HOUR, {}, 2000),
        (FIVE_MINUTES, {"cache_creation_input_token_cost": 1.1e-6}, 1100),
        (FIVE_MINUTES, {"cache_creation_input_token_cost_above_1hr": 3e-6}, 1250),
        (AN_HOUR, {"cache_creation_input_token_cost_above_1hr": 3e-6}, 3000),
        (AN_HOUR, {"cache_creation_input_token_cost": 5e-6}, 5000),
        (FIVE_MINUTES, {"cache_creation_input_token_cost": 0.0}, 1000),
    ],
)
def test_a_cache_write_is_reserved_at_its_price(cached: int, known: dict[str, float], each: int) -> None:
    caching = price(**known)
    assert quote({"max_tokens": 1}, Prompt(10, cached=cached), [("a", caching)]).amount == 10 * each + 2000


def test_a_reservation_covers_any_usage_within_it() -> None:
    tiered = price(input_cost_per_token_above_200k_tokens=3e-6, output_cost_per_reasoning_token=4e-6)
    found = quote({"max_tokens": 100}, Prompt(200_001), [("a", tiered)])
    for used in (Usage(200_001, 100), Usage(200_001, 100, reasoning=100), Usage(1, 100, reasoning=50)):
        assert found.amount is not None
        assert prices.cost(tiered, used) <= found.amount
