"""What a misspelt name was meant to be."""

import difflib
from collections.abc import Iterable

_ALIKE = 0.75


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A question for the message about an unknown name; `otherwise` where nothing is like it."""
    meant = difflib.get_close_matches(name, known, 1, cutoff=_ALIKE)
    return f"Did you mean `{meant[0]}`?" if meant else otherwise


def slip(name: str, known: Iterable[str], cutoff: float = _ALIKE) -> str | None:
    """The name that was clearly meant; None for one that may be meant as it is."""
    meant = difflib.get_close_matches(name, known, 1, cutoff=cutoff)
    return meant[0] if meant and meant[0] != name else None
