"""Fees for tools that providers run: how many runs are reserved, which are charged, and at what price."""

from typing import Any

import pytest

from worker.core.pricing import prices
from worker.core.pricing.estimate import prompt
from worker.core.pricing.quote import quote
from worker.core.pricing.usage import Runs, Usage, runs_of_items, usage

TOKENS = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "max_input_tokens": 1000}
BY_SIZE = {"search_context_size_low": 0.03, "search_context_size_medium": 0.035, "search_context_size_high": 0.05}
CENT = 10_000_000  # nano-dollars


def fee(entry: dict[str, Any], model: str, **runs: int) -> int:
    """The nano-dollars of these runs."""
    price = prices.price({**TOKENS, **entry}, model)
    assert price is not None
    return prices.cost(price, Usage(runs=tuple(runs.items())))


def test_each_search_is_charged() -> None:
    claude = {"litellm_provider": "anthropic", "search_context_cost_per_query": dict.fromkeys(BY_SIZE, 0.01)}
    assert fee(claude, "claude-sonnet-4-6", search=3) == 3 * CENT
    assert fee(claude, "claude-sonnet-4-6") == 0


@pytest.mark.parametrize(
    ("unit", "expected"), [(None, 3.5 * CENT), ("per_prompt", 3.5 * CENT), ("per_query", 10.5 * CENT)]
)
def test_gemini_bills_searches_by_the_request_or_by_the_query(unit: str | None, expected: float) -> None:
    entry = {"litellm_provider": "gemini", "search_context_cost_per_query": BY_SIZE, "web_search_billing_unit": unit}
    assert fee(entry, "gemini/gemini-2.5-pro", search=3) == expected


def test_a_model_that_always_searches_is_charged_and_reserved_for_one_search() -> None:
    entry = {**TOKENS, "litellm_provider": "openai", "search_context_cost_per_query": BY_SIZE}
    price = prices.price(entry, "gpt-4o-search-preview")
    assert price is not None
    assert prices.cost(price, Usage()) == 3.5 * CENT
    assert prices.cost(price, Usage(runs=(("search", 4),))) == 3.5 * CENT
    body = {"max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
    amount = quote(body, prompt(body), [("a", price)]).amount
    assert amount is not None
    assert 3.5 * CENT <= amount < 3.6 * CENT


def test_a_map_without_fees_charges_the_usual_ones() -> None:
    assert fee({}, "gpt-5", file_search=2, code_interpreter=1, picture_low=1) == 2 * 2_500_000 + 3 * CENT + 16_000_000
    assert fee({"file_search_cost_per_1k_calls": 5}, "gpt-5", file_search=2) == CENT
    assert fee({"code_interpreter_cost_per_session": 0.033}, "azure/gpt-5", code_interpreter=1) == 33_000_000
    assert fee({}, "gpt-5", search=2) == 0, "a model without a price for searches has none"
    assert fee({"litellm_provider": "xai"}, "xai/grok-4", search=2) == CENT


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"tools": [{"type": "function", "function": {"name": "web_search"}}]}, ()),
        ({"tools": [{"name": "web_search", "input_schema": {}}]}, ()),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]}, (("search", 3),)),
        ({"tools": [{"type": "web_search"}], "max_tool_calls": 2}, (("search", 2),)),
        ({"tools": [{"type": "web_search", "max_uses": -1}]}, (("search", 1),)),
        ({"tools": [{"type": "web_search", "max_uses": True}]}, (("search", 1),)),
        ({"tools": [{"type": "web_search", "max_uses": 10**30}]}, (("search", 1000),)),
        ({"tools": [{"googleSearch": {}}, {"googleMaps": {}}]}, (("maps", 1), ("search", 1))),
        ({"web_search_options": {}}, (("search", 1),)),
        (
            {"tools": [{"type": "file_search"}, {"type": "code_interpreter"}]},
            (("code_interpreter", 1), ("file_search", 1)),
        ),
        ({"tools": [{"type": "image_generation"}]}, ()),
        ({"tools": [{"type": "image_generation"}], "tool_choice": "required"}, (("picture_high", 1),)),
        (
            {
                "tools": [{"type": "image_generation", "quality": "low"}],
                "tool_choice": {"type": "image_generation"},
            },
            (("picture_low", 1),),
        ),
        ({"tools": "web_search"}, ()),
    ],
)  # fmt: skip
def test_the_runs_that_are_reserved(body: dict[str, Any], expected: Runs) -> None:
    assert prompt(body).runs == expected


def test_reserved_runs_are_in_the_quote() -> None:
    price = prices.price({**TOKENS, "search_context_cost_per_query": BY_SIZE}, "gpt-5")
    body = {"max_output_tokens": 1, "input": "Hi"}
    searching = {**body, "tools": [{"type": "web_search"}], "max_tool_calls": 2}
    without, with_fees = (
        quote(one, prompt(one), [("a", price)], limits=("max_output_tokens",)).amount for one in (body, searching)
    )
    assert without is not None
    assert with_fees is not None
    assert with_fees - without >= 7 * CENT


def test_the_items_of_a_response_tell_which_tools_ran() -> None:
    items = [
        {"type": "web_search_call", "action": {"type": "search", "query": "a"}},
        {"type": "web_search_call", "action": {"type": "open_page", "url": "https://a.example"}},
        {"type": "web_search_call"},
        {"type": "file_search_call"},
        {"type": "code_interpreter_call", "container_id": "cntr_1"},
        {"type": "code_interpreter_call", "container_id": "cntr_1"},
        {"type": "code_interpreter_call", "container_id": "cntr_2"},
        {"type": "image_generation_call", "quality": "medium"},
        {"type": "image_generation_call", "quality": ["high"]},
        {"type": "function_call", "name": "web_search_call"},
        {"type": "message", "content": []},
        None,
    ]  # fmt: skip
    ran = dict(runs_of_items(items))
    assert ran == {
        "search": 2, "file_search": 1, "code_interpreter": 2, "picture_medium": 1, "picture_high": 1,
    }  # fmt: skip
    assert runs_of_items("nonsense") == ()


@pytest.mark.parametrize(
    "said",
    [
        {"server_tool_use": {"web_search_requests": 2}},
        {"server_side_tool_usage_details": {"web_search_calls": 2}},
        {"prompt_tokens_details": {"web_search_requests": 2}},
        {"num_search_queries": 2},
        {"tool_runs": {"search": 2}},
    ],
)
def test_the_usage_tells_how_often_a_tool_ran(said: dict[str, Any]) -> None:
    assert usage({"prompt_tokens": 10, "completion_tokens": 5, **said}) == Usage(10, 5, runs=(("search", 2),))


@pytest.mark.parametrize("count", [0, -1, True, "2", 2.5, None, 10**30, {}])
def test_an_implausible_number_of_runs_counts_as_none(count: Any) -> None:
    said = {"prompt_tokens": 10, "completion_tokens": 5, "server_tool_use": {"web_search_requests": count}}
    assert usage(said).runs == ()
