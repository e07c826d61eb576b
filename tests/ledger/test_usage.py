"""Parsing the usage of a response, and whether it is complete."""

from typing import Any

import pytest

from worker.core.pricing.usage import Usage, usage, whole, with_details


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
def test_complete_usage(said: dict[str, Any]) -> None:
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
def test_incomplete_usage(said: dict[str, Any]) -> None:
    assert not whole(said)


def test_an_integer_may_be_written_as_a_float() -> None:
    assert usage({"prompt_tokens": 10.0, "completion_tokens": 5.0}) == Usage(10, 5)
    assert usage({"prompt_tokens": 10.5, "completion_tokens": float("nan")}) == Usage()


CACHED = (
    {"prompt_tokens_details": {"cached_tokens": 60}},
    {"prompt_cache_hit_tokens": 60, "prompt_cache_miss_tokens": 40},  # DeepSeek
    {"prompt_cache_hit_tokens": 60, "prompt_tokens_details": {"cached_tokens": 0}},
    {"cached_tokens": 60},  # Moonshot
    {"num_cached_tokens": 60},  # Mistral
    {"cache_read_input_tokens": 60},  # Claude behind a server of OpenAI's format
)


@pytest.mark.parametrize("said", CACHED)
def test_cached_tokens_are_found_in_every_providers_field(said: dict[str, Any]) -> None:
    found = usage({"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105, **said})
    assert (found.prompt, found.cached, found.completion) == (100, 60, 5)


@pytest.mark.parametrize("said", [None, "60", -5, 2.5, True, {}])
def test_an_invalid_cached_count_is_ignored(said: Any) -> None:
    assert usage({"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": said}).cached == 0
    assert usage({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 60}).cached == 10


@pytest.mark.parametrize("said", CACHED)
def test_clients_find_cached_tokens_in_the_details(said: dict[str, Any]) -> None:
    given = {"prompt_tokens": 100, "completion_tokens": 5, **said}
    assert with_details(given)["prompt_tokens_details"]["cached_tokens"] == 60
    assert usage(with_details(given)) == usage(given)
    plain = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}
    assert with_details(plain) is plain
