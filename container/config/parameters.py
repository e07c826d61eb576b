"""Reads litellm_params: resolves `os.environ/NAME` references and reports values of the wrong type.

It also handles output limits, which have many names. A reservation covers one limit, so exactly one limit is sent: the
client's, or else the deployment's. If both were sent, a server could obey the wrong one (llama.cpp prefers `n_predict`
to `max_tokens`).

LiteLLM prefixes some models with the way they are called: `azure/o_series/my-deployment`, `openai/responses/gpt-5`. The
prefix is never part of the provider's name for the model. https://docs.litellm.ai/docs/providers/azure
"""

import math
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from .document import REFERENCE, Document, KeyPath

# Reference syntax of other programs: `$NAME`, `${NAME}`, `os.environ.NAME`, `os.env/NAME`, `env:NAME`.
_ODD_REFERENCE = re.compile(r"\$|os\.environ(?!/)|os\.env\b|env[:.]|%\w+%$")


class Parameters:
    """Typed access to the litellm_params of one deployment.

    `params` are the parameters as written, and `path` is their location in the document. `left_out` is set when a value
    cannot be used. The model is then left out, as in LiteLLM.
    """

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
        if isinstance(value, date):  # YAML parses `api_version: 2024-10-21` as a date
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
                message = "looks like a reference to a variable, but the syntax is not supported"
                self.leave_out(name, message, f"Write `{REFERENCE}NAME`.")


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


_ROUTES = {
    "azure": frozenset(("responses", "o_series", "gpt5_series")),
    "openai": frozenset(("responses", "o_series", "gpt5_series", "chat_completions")),
}
_NONE: frozenset[str] = frozenset()


def split_route(provider: str | None, model: str) -> tuple[str, str]:
    """Splits off the route prefix: `("o_series", "my-deployment")`. The route is '' if there is none."""
    head, slash, tail = model.partition("/")
    if not slash or not tail or head not in _ROUTES.get(provider or "", _NONE):
        return "", model
    return head, tail
