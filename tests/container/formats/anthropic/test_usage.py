"""Cache writes in Claude's usage, by lifetime."""

from typing import Any

import pytest

from container.formats.anthropic import answer
from worker.core.pricing.usage import Usage, usage


def written(five_minutes: int, hour: int) -> dict[str, Any]:
    kept = {"ephemeral_5m_input_tokens": five_minutes, "ephemeral_1h_input_tokens": hour}
    return {
        "input_tokens": 10,
        "output_tokens": 1,
        "cache_creation_input_tokens": five_minutes + hour,
        "cache_creation": kept,
    }


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (written(20, 0), Usage(30, 1, cache_write=20)),
        (written(5, 15), Usage(30, 1, cache_write=20, cache_write_1h=15)),
        ({**written(5, 15), "cache_creation": None}, Usage(30, 1, cache_write=20)),
        # The total is the sum of the iterations.
        (
            {**written(0, 15), "iterations": [written(5, 15), written(0, 30)]},
            Usage(70, 2, cache_write=50, cache_write_1h=45),
        ),
    ],
)
def test_one_hour_cache_writes_are_counted_separately(said: dict[str, Any], expected: Usage) -> None:
    assert usage(answer.usage(said)) == expected
    if "iterations" not in said:
        assert usage(said) == expected


def test_usage_has_litellms_field_names() -> None:
    details = answer.usage(written(5, 15))["prompt_tokens_details"]
    kept = {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 15}
    assert details["cache_creation_token_details"] == kept
    assert "cache_creation_token_details" not in answer.usage(written(5, 0))["prompt_tokens_details"]
