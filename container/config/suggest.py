"""What a misspelt name was meant to be."""

import difflib
from collections.abc import Iterable

_ALIKE = 0.75


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A question for the message about an unknown name; `otherwise` where nothing is like it."""
    meant = difflib.get_close_matches(name, known, 1, cutoff=_ALIKE)
    return f"Did you mean `{meant[0]}`?" if meant else otherwise
