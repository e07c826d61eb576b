"""Amounts in nano-dollars, prices, the cost of usage, and what a request costs with a lower output limit."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.pricing import prices
from worker.core.pricing.estimate import Prompt
from worker.core.pricing.prices import Price
from worker.core.pricing.prices import charge_of_body as of_body
from worker.core.pricing.quote import MIN_OUTPUT, UNKNOWN_MAX_OUTPUT, Quote, dearer, most, quote
from worker.core.pricing.usage import Usage, usage
from worker.core.values.money import MAX_NANO, OutputSteps, fitting_step, is_amount, nano, nano_up, usd


@pytest.mark.parametrize(("dollars", "amount"), [(0, 0), (1, 10**9), (0.1, 10**8), (7.5e-8, 75), ("0.3", 3 * 10**8)])
def test_dollars_are_exact(dollars, amount) -> None:
    assert nano(dollars) == amount


def test_charges_are_rounded_up() -> None:
    assert [nano_up(1.1e-9), nano_up(1e-9), nano(1.1e-9)] == [2, 1, 1]


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 1e10])
def test_values_that_are_not_amounts(value: float) -> None:
    assert not is_amount(value)
    with pytest.raises(ValueError):
        nano(value)


@pytest.mark.parametrize("value", [True, "1", None, [1]])
def test_values_that_are_not_numbers(value: object) -> None:
    assert not is_amount(value)


@given(st.integers(0, 10**15))
def test_nano_dollars_survive_a_round_trip(amount: int) -> None:
    assert nano(usd(amount)) == amount


FLASH = {"input_cost_per_token": 7.5e-8, "output_cost_per_token": 3e-7, "max_output_tokens": 8192}


def test_gemini_flash_costs_75_nano_dollars_per_token() -> None:
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


def test_details_without_their_own_price_cost_the_base_price() -> None:
    price = prices.price(FLASH)
    assert price is not None
    assert prices.cost(price, Usage(prompt=10, cached=10, completion=10, reasoning=10)) == 750 + 3000


def test_long_prompts_cost_more_for_all_tokens() -> None:
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


TIERED = {
    "input_cost_per_token": 10e-9,
    "output_cost_per_token": 20e-9,
    "cache_read_input_token_cost": 1e-9,
    "input_cost_per_token_flex": 5e-9,
    "input_cost_per_token_priority": 20e-9,
    "output_cost_per_token_priority": 90e-9,
    "input_cost_per_token_ultrafast": 60e-9,
    "cache_read_input_token_cost_ultrafast": 6e-9,
}


def tiered(tier: object, used: Usage) -> int:
    price = prices.price(TIERED)
    assert price is not None
    return prices.cost(price, used, tier)


@pytest.mark.parametrize(
    ("tier", "into"),
    [(None, 10), ("auto", 10), ("default", 10), ("standard_only", 10), ("priority", 20), ("ultrafast", 60)],
)
def test_service_tiers_have_their_own_prices(tier: str | None, into: int) -> None:
    assert tiered(tier, Usage(prompt=1)) == into


@pytest.mark.parametrize("tier", ["PRIORITY", "SERVICE_TIER_PRIORITY", "unheard-of", 3, True, "", ["flex"], {"a": 1}])
def test_an_unknown_tier_costs_the_highest_price(tier: object) -> None:
    assert [tiered(tier, Usage(1)), tiered(tier, Usage(0, 1)), tiered(tier, Usage(1, cached=1))] == [60, 90, 6]


def test_a_tier_without_a_price_costs_the_models_highest_price() -> None:
    price = prices.price({**FLASH, "input_cost_per_token_priority": 1e-7})
    assert price is not None
    assert prices.cost(price, Usage(prompt=1), "ultrafast") == 100
    price = prices.price(FLASH)
    assert price is not None
    assert prices.cost(price, Usage(prompt=1), "ultrafast") == 75


@pytest.mark.parametrize(("asked", "into"), [("flex", 10), (None, 10), ("auto", 10), ("priority", 20)])
def test_a_tier_that_may_be_cheaper_costs_the_base_price(asked: str | None, into: int) -> None:
    assert tiered(asked, Usage(prompt=1)) == into


LONG = {
    "input_cost_per_token": 10e-9,
    "output_cost_per_token": 20e-9,
    "input_cost_per_token_above_200k_tokens": 15e-9,
    "output_cost_per_token_above_200k_tokens": 30e-9,
    "input_cost_per_token_priority": 20e-9,
    "output_cost_per_token_priority": 25e-9,
}


def test_priority_of_long_prompts() -> None:
    price = prices.price({**LONG, "input_cost_per_token_above_200k_tokens_priority": 31e-9})
    assert price is not None
    costs = [prices.cost(price, Usage(n, 100), "priority") for n in (200_000, 300_000)]
    # Where the price map lacks a price for both at once, the higher one applies.
    assert costs == [200_000 * 20 + 100 * 25, 300_000 * 31 + 100 * 30]


def test_a_long_prompt_does_not_make_priority_cheaper() -> None:
    price = prices.price(LONG)
    assert price is not None
    assert prices.cost(price, Usage(300_000, 100), "priority") == 300_000 * 20 + 100 * 30
    assert prices.cost(price, Usage(300_000, 100)) == 300_000 * 15 + 100 * 30


WRITTEN = Usage(prompt=100, cache_write=80, cache_write_1h=50)
CACHED = {"input_cost_per_token": 10e-9, "output_cost_per_token": 20e-9, "cache_creation_input_token_cost": 12e-9}


@pytest.mark.parametrize(("hour", "each"), [({}, 20), ({"cache_creation_input_token_cost_above_1hr": 21e-9}, 21)])
def test_a_one_hour_cache_write_has_its_own_price_or_costs_twice_the_input(hour: dict[str, float], each: int) -> None:
    price = prices.price({**CACHED, **hour})
    assert price is not None
    assert prices.cost(price, WRITTEN) == 20 * 10 + 30 * 12 + 50 * each


@pytest.mark.parametrize(
    ("hour", "each"), [({}, 30), ({"cache_creation_input_token_cost_above_1hr_above_200k_tokens": 33e-9}, 33)]
)
def test_a_one_hour_cache_write_of_a_long_prompt(hour: dict[str, float], each: int) -> None:
    long = {"input_cost_per_token_above_200k_tokens": 15e-9, "cache_creation_input_token_cost_above_1hr": 20e-9}
    price = prices.price({**CACHED, **long, **hour})
    assert price is not None
    used = WRITTEN._replace(prompt=300_000)
    assert prices.cost(price, used) == (300_000 - 80) * 15 + 30 * 12 + 50 * each


PICTURES = {"input_cost_per_token": 3e-7, "output_cost_per_token": 2.5e-6, "output_cost_per_image_token": 3e-5}


def test_images_in_an_answer_have_their_own_price() -> None:
    price = prices.price(PICTURES)
    assert price is not None
    used = Usage(10, 1300, image_completion=1290)
    assert prices.cost(price, used) == 10 * 300 + 10 * 2500 + 1290 * 30_000
    price = prices.price(FLASH)
    assert price is not None
    assert prices.cost(price, used) == 750 + 1300 * 300


def test_images_priced_per_image_are_not_charged_twice() -> None:
    price = prices.price({**PICTURES, "output_cost_per_image": 0.039})
    assert price is not None
    used = Usage(10, 1290, image_completion=1290)
    assert prices.cost(price, used, units={"image": 1}) == 10 * 300 + 1290 * 2500 + 39_000_000


def test_images_and_seconds_are_charged_per_unit() -> None:
    price = prices.price({"output_cost_per_image": 0.04})
    assert price is not None
    assert prices.cost(price, Usage(), units={"image": 3}) == 120_000_000


@pytest.mark.parametrize("entry", [{}, {"input_cost_per_token": 1e-6}, {"input_cost_per_token": "1", "mode": "chat"}])
def test_entries_without_a_usable_price(entry: dict) -> None:
    assert prices.price(entry) is None


def test_zero_is_a_price_and_embeddings_have_no_output() -> None:
    assert prices.price({"input_cost_per_token": 0, "output_cost_per_token": 0}) is not None
    assert prices.price({"input_cost_per_token": 2e-8, "mode": "embedding"}) is not None


def test_the_highest_price_is_safe_in_javascript() -> None:
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
        # Anthropic's own format: input_tokens excludes cache reads.
        (
            {"input_tokens": 5, "output_tokens": 7, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20},
            Usage(125, 7, cached=100, cache_write=20),
        ),
        # LiteLLM's translation of it: prompt_tokens includes them.
        (
            {
                "prompt_tokens": 125,
                "completion_tokens": 7,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 20,
            },
            Usage(125, 7, cached=100, cache_write=20),
        ),
        # xAI: reasoning tokens beside the completion tokens.
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 115,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            Usage(10, 105, reasoning=100),
        ),
        # Gemini in OpenAI's format: only the total includes the reasoning tokens.
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 5015}, Usage(10, 5005)),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 5015, "cost": 1},
            Usage(10, 5005),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 200,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            Usage(10, 190, reasoning=100),
        ),
        ({"input_tokens": 10, "output_tokens": 5, "total_tokens": 5015}, Usage(10, 5005)),
        # Impossible totals, and a total without prompt tokens.
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 3}, Usage(10, 5)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 10**9}, Usage(10, 5)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": "5015"}, Usage(10, 5)),
        ({"prompt_tokens": 0, "completion_tokens": 5, "total_tokens": 5015}, Usage(0, 5)),
        # LiteLLM's format for Gemini: the total includes the tokens that a search added.
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 5015,
                "prompt_tokens_details": {"tool_use_tokens": 5000},
            },
            Usage(10, 5),
        ),
        # One-hour cache writes in Anthropic's and LiteLLM's formats. They are included in the cache writes.
        (
            {
                "input_tokens": 5,
                "output_tokens": 7,
                "cache_creation_input_tokens": 20,
                "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 15},
            },
            Usage(25, 7, cache_write=20, cache_write_1h=15),
        ),
        (
            {
                "prompt_tokens": 25,
                "completion_tokens": 7,
                "prompt_tokens_details": {
                    "cache_creation_tokens": 20,
                    "cache_creation_token_details": {"ephemeral_1h_input_tokens": 99},
                },
            },
            Usage(25, 7, cache_write=20, cache_write_1h=20),
        ),
        (
            {
                "prompt_tokens": 25,
                "completion_tokens": 7,
                "prompt_tokens_details": {"cache_write_tokens": 20},
            },
            Usage(25, 7, cache_write=20),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 1300,
                "completion_tokens_details": {"image_tokens": 1290},
            },
            Usage(10, 1300, image_completion=1290),
        ),
        ({"input_tokens": 8, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 6}}, Usage(8, 3, cached=6)),
        ({"prompt_tokens": None, "completion_tokens": -3, "prompt_tokens_details": None}, Usage()),
        ({"prompt_tokens": True, "completion_tokens": "7"}, Usage()),
    ],
)
def test_usage_in_every_providers_format(said: dict, used: Usage) -> None:
    assert usage(said) == used


LIMIT = st.integers(1, 100_000)
PRICE = st.fixed_dictionaries(
    {"input_cost_per_token": st.integers(0, 9).map(lambda n: n * 1e-6), "output_cost_per_token": st.floats(0, 1e-4)},
    optional={
        "max_output_tokens": st.sampled_from([500, 8192, 64_000]),
        "output_cost_per_reasoning_token": st.floats(0, 1e-4),
    },
)
REACH = st.lists(PRICE, min_size=1, max_size=4)


def priced(entries: list[dict[str, Any]]) -> list[tuple[str, Price | None]]:
    return [(f"m{index}", prices.price(entry)) for index, entry in enumerate(entries)]


def cost_at(body: dict[str, Any], limit: int, reach: list[tuple[str, Price | None]], tokens: int) -> Quote:
    return quote({**body, "max_tokens": limit}, Prompt(tokens), reach)


@given(REACH, LIMIT, st.integers(0, 50_000), st.integers(1, 3), st.floats(0, 1.1), st.floats(0, 1.1))
def test_a_lower_limit_costs_at_most_what_its_step_says(
    entries: list[dict[str, Any]], limit: int, tokens: int, n: int, money: float, minute: float
) -> None:
    reach, body = priced(entries), {"n": n}
    whole = cost_at(body, limit, reach, tokens)
    assert whole.amount is not None
    assert whole.steps[-1] == (limit, whole.amount, whole.tokens)
    amount, most_tokens = int(whole.amount * money), int(whole.tokens * minute)
    found = fitting_step(whole.steps, amount, most_tokens)
    lowest = whole.steps[0]
    assert (found is not None) == (lowest[1] <= amount and lowest[2] <= most_tokens)
    if found is None:
        return
    sent = cost_at(body, found[0], reach, tokens)
    assert sent.amount is not None
    assert sent.amount <= found[1] <= amount
    assert sent.tokens <= found[2] <= most_tokens
    assert min(limit, MIN_OUTPUT) <= found[0] <= limit
    if len(entries) == 1 and found[0] < limit:  # with one model, no token is given away
        more = cost_at(body, found[0] + 1, reach, tokens)
        assert more.amount is not None
        assert more.amount > amount - 2 or more.tokens > most_tokens or more.amount == sent.amount


@given(REACH, REACH, LIMIT, st.one_of(st.none(), LIMIT), st.floats(0, 1))
def test_steps_of_two_quotes_cover_both(
    one: list[dict[str, Any]], other: list[dict[str, Any]], limit: int, preset: int | None, left: float
) -> None:
    """The second is a deployment with a limit of its own, which applies up to the lowered one."""
    of_one, of_other = cost_at({}, limit, priced(one), 100), cost_at({}, preset or limit, priced(other), 100)
    both = dearer(of_one, of_other)
    assert both.amount is not None
    lowest = both.steps[0][1]
    found = fitting_step(both.steps, lowest + int(left * (both.amount - lowest)), None)
    assert found is not None
    for reach, own in ((one, limit), (other, preset or limit)):
        sent = cost_at({}, min(own, found[0]), priced(reach), 100)
        assert sent.amount is not None
        assert sent.amount <= found[1]
        assert sent.tokens <= found[2]


def steps(**fields: Any) -> OutputSteps:
    return quote(fields, Prompt(10), priced([{"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}])).steps


def test_a_limit_is_lowered_to_what_a_request_is_worth_sending_with() -> None:
    assert [step[0] for step in steps(max_tokens=32_000)] == [MIN_OUTPUT, 32_000]
    assert [step[0] for step in steps(max_tokens=MIN_OUTPUT)] == [MIN_OUTPUT]
    assert [step[0] for step in steps(max_tokens=5)] == [5]


def test_a_limit_is_not_lowered_into_a_thinking_budget() -> None:
    for thinking in (
        {"thinking": {"type": "enabled", "budget_tokens": 10_000}},
        {"reasoning": {"max_tokens": 10_000}},
    ):
        assert steps(max_tokens=32_000, **thinking)[0][0] == 10_000 + MIN_OUTPUT
        assert [step[0] for step in steps(max_tokens=10_001, **thinking)] == [10_001]
    assert steps(max_tokens=32_000, thinking={"type": "adaptive"})[0][0] == MIN_OUTPUT
    assert steps(max_tokens=32_000, thinking="yes")[0][0] == MIN_OUTPUT


def test_without_a_limit_a_request_gets_the_models_maximum() -> None:
    entry = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    known, unknown = {**entry, "max_output_tokens": 64_000}, entry
    for reach, default, limit in (
        ([known], None, 64_000),
        ([known], 9000, 9000),
        ([known], 100_000, 64_000),
        ([unknown], None, UNKNOWN_MAX_OUTPUT),
        ([unknown], 100_000, 100_000),
        ([known, unknown], None, 64_000),
    ):
        found = quote({}, Prompt(10), priced(reach), default_max_output=default)
        assert (found.add_limit, found.steps[-1][0]) == (limit, limit)
        assert found.amount == 10_000 + 2000 * limit


def test_nothing_is_lowered_without_an_output_or_a_price() -> None:
    assert (
        quote(
            {"input": "x"}, Prompt(10), priced([{"input_cost_per_token": 1e-6, "mode": "embedding"}]), limits=()
        ).steps
        == ()
    )
    assert quote({"max_tokens": 9000}, Prompt(10), [("m", None)]).steps == ()


def test_nothing_is_lowered_where_the_endpoint_accepts_no_limit() -> None:
    entry = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "max_output_tokens": 64_000}
    charge = of_body("compact", {})
    assert charge.unlimited
    assert most({"input": "x"}, Prompt(10), priced([entry]), charge, None).steps == ()


def test_an_absurd_limit_is_not_lowered() -> None:
    """Its maximum is capped, so that the cost of a lower limit does not follow from it."""
    entry = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-2}
    found = quote({"max_tokens": 1 << 40, "n": 1 << 30}, Prompt(10), priced([entry]))
    assert len(found.steps) == 1
