"""Compares two requests field by field."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import orjson

from tests.differential.google import canonical

from .calls import Received, Refused

Kind = Literal["refused here", "refused there", "missing", "added", "changed", "address"]


class Difference(NamedTuple):
    """`kind` is relative to us: `missing` fields are sent only by LiteLLM. `field` is a path in the body, with `[]`
    for an index."""

    target: str
    endpoint: str
    drop: bool
    case: str
    kind: Kind
    field: str
    values: str = ""


def differences(theirs: Received | Refused, ours: Received | Refused) -> list[tuple[Kind, str, str]]:
    """The kind, the field and the values (LiteLLM's → ours)."""
    if isinstance(theirs, Refused) and isinstance(ours, Refused):
        return []
    if isinstance(ours, Refused):
        return [("refused here", ours.reason, "")]
    if isinstance(theirs, Refused):
        return [("refused there", theirs.reason[:100], "")]
    if "/api/" in theirs.path:
        return [*_between("", _of_ollama(theirs.body), {n: v for n, v in ours.body.items() if n not in _PROMPT})]
    found: list[tuple[Kind, str, str]] = []
    if theirs.path != ours.path:
        found.append(("address", "", f"{theirs.path} → {ours.path}"))
        if ("/responses" in theirs.path) != ("/responses" in ours.path):
            return found  # different APIs
    gemini = ":generateContent" in theirs.path or ":streamGenerateContent" in theirs.path
    bodies = (canonical(theirs.body), canonical(ours.body)) if gemini else (theirs.body, ours.body)
    found += _between("", *bodies)
    return list(dict.fromkeys(found))


def _between(path: str, theirs: Any, ours: Any) -> Iterator[tuple[Kind, str, str]]:
    if theirs == ours or _same(path, theirs, ours):
        return
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in sorted(theirs.keys() | ours.keys()):
            inner = f"{path}.{name}".removeprefix(".")
            if name == "content" and theirs.get(name) is None and ours.get(name) is None:
                continue
            if name not in ours:
                yield "missing", inner, _short(theirs[name])
            elif name not in theirs:
                yield "added", inner, _short(ours[name])
            else:
                yield from _between(inner, theirs[name], ours[name])
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for their, our in zip(theirs, ours, strict=True):
            yield from _between(path + "[]", their, our)
    else:
        yield "changed", path, f"{_short(theirs)} → {_short(ours)}"


def _same(path: str, theirs: Any, ours: Any) -> bool:
    """Whether the values are equivalent: JSON with other whitespace, or text where LiteLLM sends a list of only text
    parts."""
    if path.endswith(".arguments") and isinstance(theirs, str) and isinstance(ours, str):
        try:
            return orjson.loads(theirs) == orjson.loads(ours)
        except orjson.JSONDecodeError:
            return False
    if path.endswith(".content") and isinstance(theirs, list) and isinstance(ours, str):
        texts = [str(part["text"]) for part in theirs if isinstance(part, dict) and part.get("type") == "text"]
        return len(texts) == len(theirs) and ours in ("\n".join(texts), "".join(texts))
    return False


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:160] + "…"


# LiteLLM uses Ollama's native API, and we use its OpenAI-compatible one. Only the options are comparable.
_OLLAMA = {"num_predict": "max_tokens", "repeat_penalty": "frequency_penalty", "format": "response_format"}
_PROMPT = ("messages", "prompt", "images", "stream", "model", "stream_options")


def _of_ollama(body: dict[str, Any]) -> dict[str, Any]:
    flat = {**{n: v for n, v in body.items() if n not in (*_PROMPT, "options")}, **body.get("options", {})}
    return {_OLLAMA.get(name, name): value for name, value in flat.items()}
