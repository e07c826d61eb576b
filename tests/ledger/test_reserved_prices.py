"""A reservation covers the charge, whichever of a model's prices applies."""

from typing import Any

import pytest

from worker.core.pricing import prices
from worker.core.pricing.estimate import AN_HOUR, FIVE_MINUTES, Prompt
from worker.core.pricing.quote import quote
from worker.core.pricing.usage import Usage

ENTRY = {
    "input_cost_per_token": 1e-6,
    "output_cost_per_token": 2e-6,
    "input_cost_per_token_flex": 0.5e-6,
    "input_cost_per_token_priority": 4e-6,
    "input_cost_per_token_ultrafast": 6e-6,
    "input_cost_per_token_above_200k_tokens": 3e-6,
    "input_cost_per_token_above_200k_tokens_priority": 9e-6,
    "output_cost_per_image_token": 30e-6,
}


@pytest.mark.parametrize("tier", [None, "auto", "flex", "priority", "ultrafast", "PRIORITY", 3, ["flex"], {"a": 1}])
@pytest.mark.parametrize("size", [1_000, 300_000])
def test_a_service_tier_is_reserved_at_its_charged_price(tier: Any, size: int) -> None:
    price = prices.price(ENTRY)
    assert price is not None
    found = quote({"max_tokens": 100, "service_tier": tier}, Prompt(size), [("a", price)])
    assert found.amount is not None
    for used in (Usage(size, 100), Usage(size, 100, image_completion=100)):
        assert prices.cost(price, used, tier) <= found.amount


@pytest.mark.parametrize("prices_of_cache", [{}, {"cache_creation_input_token_cost_above_1hr": 5e-6}])
@pytest.mark.parametrize("size", [1_000, 300_000])
def test_cache_writes_are_reserved(prices_of_cache: dict[str, float], size: int) -> None:
    """Whatever part of the prompt is read, written for as long as the markers ask, or neither."""
    price = prices.price({**ENTRY, **prices_of_cache})
    assert price is not None
    for cached, hour in ((FIVE_MINUTES, 0), (AN_HOUR, size // 2), (AN_HOUR, size)):
        found = quote({"max_tokens": 1}, Prompt(size, cached=cached), [("a", price)])
        assert found.amount is not None
        for read, written in ((0, size), (size // 2, size // 2), (size // 4, size // 4), (0, 0)):
            used = Usage(size, 1, cached=read, cache_write=written, cache_write_1h=min(hour, written))
            assert prices.cost(price, used) <= found.amount
