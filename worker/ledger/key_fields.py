"""The fields of `/key/generate`, `/key/update` and `/key/{key}/regenerate`: LiteLLM's names, checked one by one."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from . import money, periods, secret

MAX_METADATA = 16 * 1024
# Whoever shows a key parses it, and most parsers are recursive.
MAX_DEPTH = 32
MAX_MODELS = 1000
# They travel in a header, from the edge to its container.
MAX_MODELS_BYTES = 32 * 1024
_MAX_COUNT = 1 << 40
_BUDGETS = ("soft_budget", "max_budget")
# One visible line: no controls, no marks that turn the writing's direction, no spaces that look like others. Spelt out,
# as what is printable changes with Unicode's version, and Python's differs between the edge and the container.
PRINTABLE = re.compile(
    r"[^\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000"
    r"\ufeff\ufff9-\ufffb]+"
)
# Of a key about which nothing is said, as columns of ledger_keys.
DEFAULTS: dict[str, Any] = {
    "alias": None,
    "user_id": "",
    "models": "[]",
    "metadata": "{}",
    "max_budget": None,
    "soft_budget": None,
    "budget_duration": None,
    "rpm_limit": None,
    "tpm_limit": None,
    "max_parallel_requests": None,
    "blocked": 0,
    "expires": None,
}


class FieldError(Exception):
    """A field that cannot be used; `param` names it."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param
        self.message = message


def columns(fields: Mapping[str, Any], own: tuple[str, ...], now: int) -> dict[str, Any]:
    """What the fields that were sent say, as columns of ledger_keys; null unsets. Raises FieldError.

    `own`: the fields that the endpoint itself reads. A field that is not known is refused, as a limit that is
    silently not enforced is worse than none; LiteLLM's own clients send the unknown ones as null or empty.
    """
    result: dict[str, Any] = {}
    for name, value in fields.items():
        if name in own:
            continue
        read = _FIELDS.get(name)
        if read is not None:
            column, convert = read
            result[column] = convert(name, value, now)
        elif _says_something(value):
            raise FieldError(name, f"'{name}' is not a field that this gateway knows.")
    check_budgets(result)
    return result


def only(fields: Mapping[str, Any], own: tuple[str, ...]) -> None:
    """Raises FieldError for any other field than the endpoint's own."""
    for name, value in fields.items():
        if name not in own and _says_something(value):
            raise FieldError(name, f"'{name}' is not a field of this path.")


def _says_something(value: Any) -> bool:
    return value is not False and (value == 0 or value not in (None, {}, [], ""))


def check_budgets(values: Mapping[str, Any], stored: Mapping[str, Any] | None = None) -> None:
    """Raises FieldError if the soft budget is above the budget, so that its warning would come too late.

    `stored`: the columns of an existing key. They fill in what `values` leaves unchanged; a change that touches
    neither budget is not checked again.
    """
    if stored is not None:
        if values.keys().isdisjoint(_BUDGETS):
            return
        values = {**stored, **values}
    soft, most = (values.get(name) for name in _BUDGETS)
    if soft is not None and most is not None and soft > most:
        raise FieldError("soft_budget", "'soft_budget' has to be at most 'max_budget'.")


def chosen_secret(fields: Mapping[str, Any], name: str) -> str | None:
    """The secret that the caller wants. Raises FieldError."""
    value = fields.get(name)
    if value is None:
        return None
    if not secret.is_acceptable(value):
        raise FieldError(name, f"'{name}' has to be 'sk-' and 5 to 253 printable characters.")
    return value


def grace(fields: Mapping[str, Any]) -> int:
    """Milliseconds that the old secret works on after a regeneration. Raises FieldError."""
    value = fields.get("grace_period")
    if value in (None, "", "0", 0, "0s"):
        return 0
    return _length("grace_period", value)


def duration(fields: Mapping[str, Any]) -> int | None:
    """Milliseconds that the key is valid, None for good. Raises FieldError."""
    value = fields.get("duration")
    return None if value in (None, "-1") else _length("duration", value)


def _length(name: str, value: Any) -> int:
    if not isinstance(value, str):
        raise FieldError(name, f"'{name}' has to be a duration such as 30s, 1h or 30d.")
    try:
        return periods.length(value)
    except ValueError as error:
        raise FieldError(name, f"'{name}': {error}.") from None


def _budget(name: str, value: Any, now: int) -> int | None:
    if value is None:
        return None
    if not money.is_amount(value):
        raise FieldError(name, f"'{name}' has to be US dollars from 0 to {money.MAX_USD}.")
    return money.nano(value)


def _count(name: str, value: Any, now: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MAX_COUNT:
        raise FieldError(name, f"'{name}' has to be a whole number from 0.")
    return value


def _duration(name: str, value: Any, now: int) -> str | None:
    if value is None:
        return None
    _length(name, value)
    return value


def _expiry(name: str, value: Any, now: int) -> int | None:
    length = duration({name: value})
    return None if length is None else now + length


def _text(name: str, value: Any, now: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > 255 or not PRINTABLE.fullmatch(value):
        raise FieldError(name, f"'{name}' has to be a text of 1 to 255 printable characters.")
    return value


def _text_or_empty(name: str, value: Any, now: int) -> str:
    return _text(name, value, now) or ""


def _models(name: str, value: Any, now: int) -> str:
    names = [] if value is None else value
    if not isinstance(names, list) or len(names) > MAX_MODELS or not all(isinstance(n, str) and n for n in names):
        raise FieldError(name, f"'{name}' has to be an array of model names, '*' standing for anything.")
    text = json.dumps(names)
    if len(text) > MAX_MODELS_BYTES:
        raise FieldError(name, f"'{name}' comes to over {MAX_MODELS_BYTES // 1024} KB; use patterns with '*'.")
    return text


def _metadata(name: str, value: Any, now: int) -> str:
    text = json.dumps({} if value is None else value)
    if not isinstance(value, dict | None) or len(text) > MAX_METADATA:
        raise FieldError(name, f"'{name}' has to be an object of at most {MAX_METADATA // 1024} KB.")
    if _depth(value) > MAX_DEPTH:
        raise FieldError(name, f"'{name}' is nested more than {MAX_DEPTH} levels deep.")
    return text


def _depth(value: Any) -> int:
    """Levels of arrays and objects."""
    deepest, stack = 0, [(value, 1)]
    while stack:
        one, level = stack.pop()
        inside = one.values() if isinstance(one, dict) else one if isinstance(one, list) else None
        if inside is not None:
            deepest = max(deepest, level)
            stack += [(part, level + 1) for part in inside]
    return deepest


def _flag(name: str, value: Any, now: int) -> int:
    if not isinstance(value, bool | None):
        raise FieldError(name, f"'{name}' has to be true or false.")
    return int(bool(value))


_FIELDS: dict[str, tuple[str, Callable[[str, Any, int], Any]]] = {
    "key_alias": ("alias", _text),
    "user_id": ("user_id", _text_or_empty),
    "models": ("models", _models),
    "metadata": ("metadata", _metadata),
    "max_budget": ("max_budget", _budget),
    "soft_budget": ("soft_budget", _budget),
    "budget_duration": ("budget_duration", _duration),
    "rpm_limit": ("rpm_limit", _count),
    "tpm_limit": ("tpm_limit", _count),
    "max_parallel_requests": ("max_parallel_requests", _count),
    "duration": ("expires", _expiry),
    "blocked": ("blocked", _flag),
}
NAMES = tuple(_FIELDS)
