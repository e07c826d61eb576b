"""Output limits, which have many names.

A reservation covers one limit, so exactly one limit is sent: the client's, or else the deployment's. If both were sent,
a server could obey the wrong one (llama.cpp prefers `n_predict` to `max_tokens`).
"""

from collections.abc import Mapping
from typing import Any

# Output limit names of OpenAI, Gemini, Hugging Face, llama.cpp, Ollama, Cohere and Bedrock.
NAMES = frozenset(
    "max_tokens max_completion_tokens max_output_tokens max_new_tokens max_tokens_to_sample max_gen_len max_gen_toks "
    "max_generated_tokens n_predict num_predict maxTokens maxOutputTokens maxTokenCount".split()
)


def lowest(fields: Mapping[str, Any], names: frozenset[str] = NAMES) -> int | None:
    """The lowest output limit among the fields, in tokens, or None. Values other than positive integers are ignored."""
    found = None
    for name in names.intersection(fields):
        limit = _limit(fields[name])
        if limit and (found is None or limit < found):
            found = limit
    return found


def lower(fields: dict[str, Any], most: int) -> None:
    """Lowers every limit among the fields to `most`."""
    for name in NAMES.intersection(fields):
        if _limit(fields[name]) > most:
            fields[name] = most


def over(presets: Mapping[str, Any], fields: Mapping[str, Any], name: str = "max_tokens") -> dict[str, Any]:
    """Merges a client's fields over a deployment's presets.

    A limit from the client replaces every preset limit. Otherwise the preset limit is sent as `name`.
    """
    merged = {**presets, **fields}
    preset = NAMES.intersection(presets)
    if preset:
        for other in preset - fields.keys():
            del merged[other]
        if lowest(fields) is None:
            limit = lowest(presets)
            if limit is not None:
                merged[name] = limit
    return merged


def _limit(value: Any) -> int:
    """The limit, or 0 if the value is not a positive integer."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
