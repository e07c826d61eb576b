"""What LiteLLM knows of models, as far as a request is fitted by it: an extract of its map, and its lists of fields.

Both are read once, without importing LiteLLM. The map's file has some megabytes and is let go of.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from ..config.price_map import price_map

_FIELDS_FILE = Path(__file__).with_name("litellm_fields.json")
_ANSWERS_IN_TEXT = ("chat", "completion", "responses", None)
_EFFORTS = ("none", "minimal", "low", "xhigh", "max")


class Known(NamedTuple):
    """Of one model. `max_output`: tokens, None where nobody says; `reasons`: it can think; `efforts`: the levels that
    it is said to take (True) or to refuse (False), `levels`: all that it takes, where they are listed;
    `default_effort`: the level of a request that names none."""

    max_output: int | None = None
    reasons: bool = False
    efforts: Mapping[str, bool] = {}
    levels: frozenset[str] | None = None
    default_effort: str | None = None


def known(*names: Any) -> Known | None:
    """The first of the names that the map has."""
    models = _models()
    return next((models[name] for name in names if isinstance(name, str) and name in models), None)


def read(entry: Mapping[str, Any]) -> Known:
    """An entry of the map, or a deployment's `model_info`, which has the same names."""
    efforts = {level: entry[name] for level in _EFFORTS if isinstance(entry.get(name := _flag(level)), bool)}
    levels, default = entry.get("reasoning_effort_levels"), entry.get("default_reasoning_effort")
    return Known(
        max_output=_count(entry.get("max_output_tokens")),
        reasons=entry.get("supports_reasoning") is True,
        efforts=efforts or {},
        levels=frozenset(map(str, levels)) if isinstance(levels, list) and levels else None,
        default_effort=default if isinstance(default, str) else None,
    )


def usual_output(info: Mapping[str, Any]) -> int | None:
    """Tokens of an answer by `model_info.max_tokens`, where nobody says more exactly: many mean the output by it, and
    those who mean the context as well name no limit that is too small."""
    return _count(info.get("max_tokens"))


def fields(provider: str, model: str) -> frozenset[str] | None:
    """The fields of OpenAI's chat API that LiteLLM sends to the model; None for a provider of the engine's."""
    of_provider, sets = _fields()
    found = of_provider.get(provider)
    return None if found is None else sets[found.get(model, found[""])]


def load() -> None:
    """Reads both now, so that no request has to wait for it."""
    _models()
    _fields()


@cache
def _models() -> Mapping[str, Known]:
    same: dict[Any, Known] = {}  # many models have the same limits and levels

    def shared(found: Known) -> Known:
        key = (*found[:2], tuple(found.efforts.items()), *found[3:])
        return same.setdefault(key, found)

    return {name: shared(read(e)) for name, e in price_map().items() if e.get("mode") in _ANSWERS_IN_TEXT}


@cache
def _fields() -> tuple[Mapping[str, Mapping[str, int]], tuple[frozenset[str], ...]]:
    data = orjson.loads(_FIELDS_FILE.read_bytes())
    return data["providers"], tuple(frozenset(names.split()) for names in data["sets"])


def _flag(level: str) -> str:
    return f"supports_{level}_reasoning_effort"


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
