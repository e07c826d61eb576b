"""Reads litellm_params: resolves `os.environ/NAME` references and reports values of the wrong type."""

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
