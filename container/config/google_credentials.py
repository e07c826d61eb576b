"""What can be seen to be wrong with `GOOGLE_APPLICATION_CREDENTIALS` before Google is asked."""

import json
from collections.abc import Mapping
from pathlib import Path

from .problems import Problem

VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
_MEND = "Set it to the path of a credentials file, or to the file's JSON."


def problem(environment: Mapping[str, str]) -> Problem | None:
    """A warning, as other models work without; it quotes nothing of the credentials."""
    text = environment.get(VARIABLE, "").strip()
    message = wrong(text) if text else None
    return Problem("warning", "environment", f"{VARIABLE} {message}.", _MEND) if message else None


def wrong(text: str) -> str | None:
    """Of a path or the JSON itself; None where nothing is."""
    if not text.startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            return f"names a file that cannot be read ({getattr(error, 'strerror', None) or 'not text'})"
    try:
        content = json.loads(text)
    except ValueError:
        return "holds no valid JSON"
    return None if isinstance(content, dict) and content.get("type") else "holds no credentials: there is no `type`"
