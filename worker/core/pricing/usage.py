"""Token usage as reported in responses, for all providers' formats."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from . import tool_fees
from .tool_fees import Runs

# The fields of a response without special usage, except for the details.
_OPENAI = frozenset(
    ("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details")
)


# More than any model's window and output combined; a larger total is a mistake.
_MOST_IN_ALL = 1 << 24


class Usage(NamedTuple):
    """Token counts. `prompt` includes `cached` (read from a cache), `cache_write` and `audio_prompt`; `completion`
    includes `reasoning`, `audio_completion` and `image_completion`; `cache_write` includes `cache_write_1h`, which is
    cached for an hour. `runs`: of tools that the provider bills besides the tokens."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    audio_prompt: int = 0
    audio_completion: int = 0
    cache_write_1h: int = 0
    image_completion: int = 0
    runs: Runs = ()


def usage(said: Mapping[str, Any]) -> Usage:
    """Parses the `usage` object of an OpenAI, Anthropic or LiteLLM response. Missing or invalid numbers become 0."""
    if "prompt_tokens" in said:
        prompt = count(said, "prompt_tokens")
        completion = count(said, "completion_tokens")
    else:
        prompt = count(said, "input_tokens")
        completion = count(said, "output_tokens")
    details = (
        _object(said, "prompt_tokens_details")
        or _object(said, "input_tokens_details")
        or _object(said, "input_token_details")  # in OpenAI's transcriptions
    )
    made = _object(said, "completion_tokens_details") or _object(said, "output_tokens_details")
    if said.keys() <= _OPENAI and not (any(details.values()) or any(made.values())):
        return Usage(prompt, completion + (unsaid(said, "total_tokens", prompt + completion) if prompt else 0))
    cached = count(details, "cached_tokens") or cached_elsewhere(said)
    written = (
        count(said, "cache_creation_input_tokens")
        or count(details, "cache_creation_tokens")
        or count(details, "cache_write_tokens")
    )
    if "prompt_tokens" not in said and ("cache_read_input_tokens" in said or "cache_creation_input_tokens" in said):
        # Anthropic's format: `input_tokens` excludes tokens read from or written to the cache.
        prompt += cached + written
    if prompt:
        # xAI counts reasoning separately from the completion, as does Gemini in its OpenAI format. LiteLLM's total
        # includes the results of Google Search, which is billed per search.
        completion += unsaid(said, "total_tokens", prompt + completion + count(details, "tool_use_tokens"))
    cache_write = min(written, max(0, prompt - cached))
    hour = max(
        count(_object(said, "cache_creation"), "ephemeral_1h_input_tokens"),
        count(_object(details, "cache_creation_token_details"), "ephemeral_1h_input_tokens"),
    )
    return Usage(
        prompt,
        completion,
        min(cached, prompt),
        cache_write,
        min(count(made, "reasoning_tokens"), completion),
        min(count(details, "audio_tokens"), prompt),
        min(count(made, "audio_tokens"), completion),
        min(hour, cache_write),
        min(count(made, "image_tokens"), completion),
        tool_fees.of_usage(said, details),
    )


# Fields for tokens read from a cache, outside the details: Anthropic and compatible servers, DeepSeek, Moonshot and
# SGLang, Mistral and vLLM.
_CACHED = ("cache_read_input_tokens", "prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens")


def cached_elsewhere(said: Mapping[str, Any]) -> int:
    """Returns the cached tokens reported in a field other than OpenAI's."""
    return next((found for name in _CACHED if (found := count(said, name))), 0)


def with_details(said: dict[str, Any]) -> dict[str, Any]:
    """Returns an OpenAI-format usage with the cached tokens in the details, where clients look for them, as LiteLLM
    does. Returns `said` itself if there is nothing to add."""
    if said.keys() <= _OPENAI or "prompt_tokens" not in said:
        return said
    details = _object(said, "prompt_tokens_details")
    cached = 0 if count(details, "cached_tokens") else cached_elsewhere(said)
    return {**said, "prompt_tokens_details": {**details, "cached_tokens": cached}} if cached else said


def unsaid(said: Mapping[str, Any], total: str, counted: int) -> int:
    """Returns the tokens in the field `total` beyond those `counted`; 0 if the total is implausible."""
    found = count(said, total)
    return found - counted if counted < found <= _MOST_IN_ALL else 0


def whole(said: Mapping[str, Any]) -> bool:
    """Whether the usage has both prompt and completion tokens. A prompt is never empty. A completion may be, and
    without one (embeddings) the total equals the prompt."""
    into, out = ("prompt_tokens", "completion_tokens") if "prompt_tokens" in said else ("input_tokens", "output_tokens")
    prompt = count(said, into)
    if not (prompt or count(said, "cache_read_input_tokens") or count(said, "cache_creation_input_tokens")):
        return False
    answer = said.get(out)
    return (type(answer) is int and answer == 0) or count(said, out) > 0 or count(said, "total_tokens") == prompt


def _object(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = said.get(name)
    return value if isinstance(value, dict) else {}


def count(said: Mapping[str, Any], name: str) -> int:
    """Returns a provider's count; 0 if it is missing or not a plausible number."""
    value = said.get(name)
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 < value < 1 << 40 else 0  # bool is a subclass of int
