"""What of a request or an answer may be written down: pure, and run by the thread that writes."""

import re
from collections.abc import Iterable
from typing import Any

import orjson

from ..accounting.transcript import Transcript
from ..hide_secrets import hide_secrets

# Fields of the providers' APIs whose texts come from a short list and say nothing of anybody.
_KEPT = frozenset(
    "model role type object finish_reason stop_reason service_tier reasoning_effort encoding_format code param "
    "tool_choice detail media_type format".split()
)
# Fields that hold more such fields.
_ENTERED = frozenset(
    "messages choices message delta content usage prompt_tokens_details completion_tokens_details "
    "input_tokens_details output_tokens_details tools function tool_calls response_format stream_options error data "
    "thinking output input system embedding prompt source image_url cache_control".split()
)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LONGEST_KEPT = 100
_MOST_ITEMS = 50
# A secret that the limit cuts in two is looked for before the cut.
OVERLAP = 512


def without_contents(raw: bytes, size: int) -> Any:
    """The shape of a body: names, numbers, lengths. `size`: of the whole, of which `raw` is the beginning."""
    if len(raw) < size:
        return f"[{size} bytes]"
    try:
        return _shape(orjson.loads(raw))
    except orjson.JSONDecodeError:
        return f"[{size} bytes]"


def _shape(value: Any, name: str = "") -> Any:
    if isinstance(value, str):
        return value if name in _KEPT and len(value) <= _LONGEST_KEPT else f"[{len(value)} characters]"
    if isinstance(value, dict):
        if name and name not in _ENTERED:
            return f"[{len(value)} fields]"
        return {key if _NAME.fullmatch(key) else "[field]": _shape(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        if name not in _ENTERED or not any(isinstance(one, dict | str) for one in value):
            return f"[{len(value)} items]"
        more = [f"[{len(value) - _MOST_ITEMS} more]"] if len(value) > _MOST_ITEMS else []
        return [_shape(one) for one in value[:_MOST_ITEMS]] + more
    return value


class Secrets:
    """What never is written down: `known` texts, and whatever looks like a key."""

    def __init__(self, known: Iterable[str]) -> None:
        # The longest first, as one may be part of another.
        self._known = sorted({one for one in known if len(one) >= 6}, key=len, reverse=True)

    def hidden(self, text: str) -> str:
        for one in self._known:
            text = text.replace(one, "***")
        return hide_secrets(text)

    def contents(self, raw: bytes, size: int, most: int) -> str:
        """A body's text, at most `most` characters of it. `raw`: its beginning, OVERLAP longer if there is more."""
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            if error.start < len(raw) - 4:
                return f"[{size} bytes]"
            text = raw[: error.start].decode()
        text = self.hidden(text)
        return text if len(text) <= most and len(raw) == size else f"{text[:most]}[… {size} bytes]"

    def spoken(self, raw: bytes, size: int, most: int) -> dict[str, Any]:
        """What the events of a stream say together: a secret may be spread over several."""
        said = Transcript()
        said.add(raw)
        text = self.hidden(said.text())
        return {"text": text[:most], "bytes": size, "whole": len(raw) == size and len(text) <= most}
