"""What an answer says it used, and whether it says enough."""

from typing import Any

import pytest

from worker.ledger.usage import Usage, usage, whole


@pytest.mark.parametrize(
    "said",
    [
        {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        {"prompt_tokens": 10, "completion_tokens": 0},
        {"prompt_tokens": 10.0, "completion_tokens": 5.0},
        {"prompt_tokens": 8, "total_tokens": 8},  # embeddings
        {"input_tokens": 10, "output_tokens": 5},
        {"input_tokens": 0, "cache_read_input_tokens": 10, "output_tokens": 5},
    ],
)
def test_what_is_enough(said: dict[str, Any]) -> None:
    assert whole(said)


@pytest.mark.parametrize(
    "said",
    [
        {"total_tokens": 50},
        {"prompt_tokens": 10},
        {"prompt_tokens": 10, "completion_tokens": None},
        {"prompt_tokens": 10, "completion_tokens": "5"},
        {"prompt_tokens": 10, "completion_tokens": -5},
        {"prompt_tokens": 10, "completion_tokens": True},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": None, "completion_tokens": 5},
        {"prompt_tokens": "10", "completion_tokens": 5},
        {"prompt_tokens": 10.5, "completion_tokens": 5},
        {"prompt_tokens": 10**15, "completion_tokens": 5},
        {"prompt_tokens": float("inf"), "completion_tokens": 5},
        {"input_tokens": 10},
    ],
)
def test_what_is_not(said: dict[str, Any]) -> None:
    assert not whole(said)


def test_a_whole_number_may_be_written_as_a_fraction() -> None:
    assert usage({"prompt_tokens": 10.0, "completion_tokens": 5.0}) == Usage(10, 5)
    assert usage({"prompt_tokens": 10.5, "completion_tokens": float("nan")}) == Usage()
