"""Fees for searches, with LiteLLM as the oracle."""

from typing import Any

import pytest

from worker.core.pricing import prices
from worker.core.pricing.usage import usage

TOKENS = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}


@pytest.mark.parametrize("searches", [0, 1, 3])
@pytest.mark.parametrize(
    ("model", "provider", "reported"),
    [
        ("claude-sonnet-4-6", "anthropic", "server_tool_use"),
        ("vertex_ai/claude-sonnet-4-6", "vertex_ai", "server_tool_use"),
        ("gemini/gemini-2.5-pro", "gemini", "prompt_tokens_details"),
        ("gemini/gemini-3.1-pro-preview", "gemini", "prompt_tokens_details"),
        ("xai/grok-4.3", "xai", "server_side_tool_usage_details"),
    ],
)
def test_searches_cost_what_they_do_in_litellm(model: str, provider: str, reported: str, searches: int) -> None:
    import litellm
    from litellm.litellm_core_utils.llm_cost_calc.tool_call_cost_tracking import StandardBuiltInToolCostTracking
    from litellm.types.utils import ModelResponse, Usage

    name = "web_search_calls" if provider == "xai" else "web_search_requests"
    said: dict[str, Any] = {**TOKENS, reported: {name: searches}} if searches else TOKENS
    theirs = StandardBuiltInToolCostTracking.get_cost_for_built_in_tools(
        model=model, response_object=ModelResponse(), usage=Usage(**said), custom_llm_provider=provider
    )
    price = prices.price(litellm.model_cost[model], model)
    assert price is not None
    used = usage(said)
    ours = prices.cost(price, used) - prices.cost(price, used._replace(runs=()))
    assert ours == pytest.approx(theirs * 1e9)
    assert (ours > 0) == (searches > 0)
