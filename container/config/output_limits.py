"""The output limit of a request, under whichever name it is written: the client's, else the deployment's own.

A reservation covers one limit, so one limit is sent. A server that knows another name and obeys that one
(llama.cpp takes `n_predict` before `max_tokens`) must not find it in the request.
"""

from collections.abc import Mapping
from typing import Any

# OpenAI's names, and what Gemini, Hugging Face, llama.cpp, Ollama, Cohere and Bedrock call it.
NAMES = frozenset(
    "max_tokens max_completion_tokens max_output_tokens max_new_tokens max_tokens_to_sample max_gen_len max_gen_toks "
    "max_generated_tokens n_predict num_predict maxTokens maxOutputTokens maxTokenCount".split()
)


def lowest(fields: Mapping[str, Any], names: frozenset[str] = NAMES) -> int | None:
    """Of the limits among the fields, in tokens; None where there is none. What is no whole number over 0 is none."""
    found = None
    for name in names.intersection(fields):
        limit = _limit(fields[name])
        if limit and (found is None or limit < found):
            found = limit
    return found


def over(presets: Mapping[str, Any], fields: Mapping[str, Any], name: str = "max_tokens") -> dict[str, Any]:
    """A client's fields over a deployment's presets. A limit of the client's takes the place of any preset one; without
    one the preset limit is called `name`."""
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
    """0 where it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
