"""`general_settings.request_logging`: `true`, or a mapping of what is logged and where."""

from dataclasses import dataclass
from typing import Any

from . import option_values as read
from .document import Document, KeyPath
from .suggest import did_you_mean

DEFAULT_BYTES = 64 * 1024
MOST_BYTES = 16 * 1024 * 1024
_NAMES = ("contents", "redact", "file", "max_bytes")
_THERE_ARE = f"There are: {', '.join(_NAMES)}."


@dataclass(frozen=True, slots=True)
class RequestLogging:
    """`contents`: what was asked and answered, too; `file`: else the log; `max_bytes`: of each body."""

    contents: bool = False
    file: str | None = None
    max_bytes: int = DEFAULT_BYTES


def parse(document: Document, path: KeyPath, value: Any) -> RequestLogging | None:
    """None where it is off, or cannot be used, which is reported."""
    if value is None:
        return None
    if not isinstance(value, dict):
        return RequestLogging() if read.flag(document, path, value, strict=True) else None
    for name in value.keys() - set(_NAMES):
        document.error((*path, name), "is not known.", did_you_mean(str(name), _NAMES, _THERE_ARE))
    contents = "contents" in value and read.flag(document, (*path, "contents"), value["contents"], strict=True)
    if "redact" in value:  # the same, said the other way round
        redact = read.flag(document, (*path, "redact"), value["redact"], strict=True)
        if "contents" in value and contents == redact:
            document.error((*path, "redact"), "contradicts 'contents'.", "Write one of them.")
        contents = not redact
    file, most = value.get("file"), value.get("max_bytes", DEFAULT_BYTES)
    if file is not None and (not isinstance(file, str) or not file):
        document.error((*path, "file"), "has to be a path.")
    if isinstance(most, bool) or not isinstance(most, int) or not 0 < most <= MOST_BYTES:
        document.error((*path, "max_bytes"), f"has to be a whole number of bytes from 1 to {MOST_BYTES}.")
    if contents:
        document.report("warning", path, "writes down what clients ask and what they are answered.")
    return RequestLogging(contents, file, most)
