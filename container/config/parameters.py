"""litellm_params as they are read: `os.environ/NAME` replaced, wrong types reported.

The output limit of a request, under whichever name it is written: the client's, else the deployment's own.

A reservation covers one limit, so one limit is sent. A server that knows another name and obeys that one
(llama.cpp takes `n_predict` before `max_tokens`) must not find it in the request.

LiteLLM's prefixes that say how a model is called: `azure/o_series/my-deployment`, `openai/responses/gpt-5`.

They are never a part of the provider's name for the model. https://docs.litellm.ai/docs/providers/azure
"""

import math
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from .document import REFERENCE, Document, KeyPath

# `$NAME`, `${NAME}`, `os.environ.NAME`, `os.env/NAME`, `env:NAME`: as other programs write it.
_ODD_REFERENCE = re.compile(r"\$|os\.environ(?!/)|os\.env\b|env[:.]|%\w+%$")


class Parameters:
    """`params` as written; `path`: where they stand; `left_out`: whether one cannot be used, so that the model is left
    out, as LiteLLM does."""

    def __init__(self, document: Document, path: KeyPath, params: dict, environment: Mapping[str, str]) -> None:
        self.document, self.path, self.params, self.environment = document, path, params, environment
        self.left_out = False

    def leave_out(self, name: str | tuple[str, ...], message: str, mend: str = "") -> None:
        self.left_out = True
        at = (name,) if isinstance(name, str) else name
        self.document.report("warning", (*self.path, *at), f"{message.rstrip('.')}; the model is left out.", mend)

    def value(self, name: str) -> Any:
        value = self.params.get(name)
        if isinstance(value, str) and value.startswith(REFERENCE):
            return self.environment.get(value[len(REFERENCE) :]) or None
        return value

    def text(self, name: str) -> str | None:
        value = self.value(name)
        if isinstance(value, date):  # what YAML makes of `api_version: 2024-10-21`
            return value.isoformat()
        if value is None or isinstance(value, str):
            return value or None
        self.leave_out(name, "has to be text")
        return None

    def number(self, name: str) -> float | None:
        value = self.value(name)
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number) or number < 0:
            self.leave_out(name, f"has to be a number that is not negative, not {value!r}")
            return None
        return number

    def whole(self, name: str) -> int | None:
        number = self.number(name)
        if number is not None and number != int(number):
            self.leave_out(name, "has to be a whole number")
            return None
        return None if number is None else int(number)

    def refuse_odd_references(self) -> None:
        for name in ("api_key", "api_base", "base_url", "api_version"):
            value = self.params.get(name)
            if isinstance(value, str) and _ODD_REFERENCE.match(value):
                message = "looks like a variable's name, which LiteLLM does not read either"
                self.leave_out(name, message, f"Write `{REFERENCE}NAME`.")


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


_ROUTES = {
    "azure": frozenset(("responses", "o_series", "gpt5_series")),
    "openai": frozenset(("responses", "o_series", "gpt5_series", "chat_completions")),
}
_NONE: frozenset[str] = frozenset()


def split_route(provider: str | None, model: str) -> tuple[str, str]:
    """The route, '' where there is none, and the provider's own name: `("o_series", "my-deployment")`."""
    head, slash, tail = model.partition("/")
    if not slash or not tail or head not in _ROUTES.get(provider or "", _NONE):
        return "", model
    return head, tail
