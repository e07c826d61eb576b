"""litellm_params as they are read: `os.environ/NAME` replaced, wrong types reported."""

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
