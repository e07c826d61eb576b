import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.ledger import prices
from worker.ledger.money import MAX_NANO, is_amount, nano, nano_up, usd
from worker.ledger.usage import Usage, usage


@pytest.mark.parametrize(("dollars", "amount"), [(0, 0), (1, 10**9), (0.1, 10**8), (7.5e-8, 75), ("0.3", 3 * 10**8)])
def test_dollars_are_exact(dollars, amount) -> None:
    assert nano(dollars) == amount


def test_what_is_charged_is_rounded_up() -> None:
    assert [nano_up(1.1e-9), nano_up(1e-9), nano(1.1e-9)] == [2, 1, 1]


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 1e10])
def test_no_amount(value: float) -> None:
    assert not is_amount(value)
    with pytest.raises(ValueError):
        nano(value)


@pytest.mark.parametrize("value", [True, "1", None, [1]])
def test_not_even_a_number(value: object) -> None:
    assert not is_amount(value)


@given(st.integers(0, 10**15))
def test_there_and_back(amount: int) -> None:
    assert nano(usd(amount)) == amount


FLASH = {"input_cost_per_token": 7.5e-8, "output_cost_per_token": 3e-7, "max_output_tokens": 8192}


def test_gemini_flash_costs_75_nano_dollars_a_token() -> None:
    price = prices.price(FLASH)
    assert price is not None
    assert prices.cost(price, Usage(prompt=1)) == 75
    assert prices.cost(price, Usage(prompt=1_000_000)) == 75_000_000


def test_a_fraction_is_rounded_up_once() -> None:
    price = prices.price({"input_cost_per_token": 3.75e-8, "output_cost_per_token": 0})
    assert price is not None
    assert [prices.cost(price, Usage(prompt=n)) for n in (1, 2, 3)] == [38, 75, 113]


def test_cached_and_reasoning_tokens_have_their_own_prices() -> None:
    price = prices.price(
        {
            "input_cost_per_token": 10e-9,
            "cache_read_input_token_cost": 1e-9,
            "cache_creation_input_token_cost": 12e-9,
            "output_cost_per_token": 20e-9,
            "output_cost_per_reasoning_token": 30e-9,
        }
    )
    assert price is not None
    used = Usage(prompt=100, cached=60, cache_write=10, completion=50, reasoning=20)
    assert prices.cost(price, used) == 30 * 10 + 60 * 1 + 10 * 12 + 30 * 20 + 20 * 30


def test_without_a_price_of_their_own_they_cost_as_the_rest() -> None:
    price = prices.price(FLASH)
    assert price is not None
    assert prices.cost(price, Usage(prompt=10, cached=10, completion=10, reasoning=10)) == 750 + 3000


def test_long_prompts_cost_more_altogether() -> None:
    price = prices.price(
        {
            "input_cost_per_token": 1e-6,
            "output_cost_per_token": 2e-6,
            "input_cost_per_token_above_200k_tokens": 2e-6,
            "output_cost_per_token_above_200k_tokens": 3e-6,
        }
    )
    assert price is not None
    assert prices.cost(price, Usage(200_000, 1)) == 200_000 * 1000 + 2000
    assert prices.cost(price, Usage(200_001, 1)) == 200_001 * 2000 + 3000


def test_service_tiers() -> None:
    entry = {**FLASH, "input_cost_per_token_priority": 1e-7, "input_cost_per_token_flex": 5e-8}
    price = prices.price(entry)
    assert price is not None
    assert [prices.cost(price, Usage(prompt=1), tier) for tier in (None, "priority", "flex", "unheard-of")] == [
        75,
        100,
        50,
        75,
    ]


def test_images_and_seconds() -> None:
    price = prices.price({"output_cost_per_image": 0.04})
    assert price is not None
    assert prices.cost(price, Usage(), units={"image": 3}) == 120_000_000


@pytest.mark.parametrize("entry", [{}, {"input_cost_per_token": 1e-6}, {"input_cost_per_token": "1", "mode": "chat"}])
def test_no_price_is_no_price(entry: dict) -> None:
    assert prices.price(entry) is None


def test_zero_is_a_price_and_embeddings_have_no_output() -> None:
    assert prices.price({"input_cost_per_token": 0, "output_cost_per_token": 0}) is not None
    assert prices.price({"input_cost_per_token": 2e-8, "mode": "embedding"}) is not None


def test_a_price_survives_javascript() -> None:
    dear = prices.price({"input_cost_per_token": 6e-4, "output_cost_per_token": 1.0})
    assert dear is not None
    assert max(v for v in dear.values() if isinstance(v, int)) <= MAX_NANO


@pytest.mark.parametrize(
    ("said", "used"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}, Usage(9, 2)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(9, 5, cached=4, reasoning=3),
        ),
        # Anthropic's own: what the cache gave is not in input_tokens.
        (
            {"input_tokens": 5, "output_tokens": 7, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20},
            Usage(125, 7, cached=100, cache_write=20),
        ),
        # LiteLLM's translation of it, where it is.
        (
            {
                "prompt_tokens": 125,
                "completion_tokens": 7,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 20,
            },
            Usage(125, 7, cached=100, cache_write=20),
        ),
        # xAI: reasoning beside the answer.
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 115,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            Usage(10, 105, reasoning=100),
        ),
        ({"input_tokens": 8, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 6}}, Usage(8, 3, cached=6)),
        ({"prompt_tokens": None, "completion_tokens": -3, "prompt_tokens_details": None}, Usage()),
        ({"prompt_tokens": True, "completion_tokens": "7"}, Usage()),
    ],
)
def test_usage_in_everybodys_words(said: dict, used: Usage) -> None:
    assert usage(said) == used
