"""What a request costs with a lower output limit, and the highest limit that fits."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from worker.core.pricing import prices
from worker.core.pricing.estimate import Prompt
from worker.core.pricing.prices import Price
from worker.core.pricing.prices import charge_of_body as of_body
from worker.core.pricing.quote import MIN_OUTPUT, UNKNOWN_MAX_OUTPUT, Quote, dearer, most, quote
from worker.core.values.money import OutputSteps, fitting_step

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
