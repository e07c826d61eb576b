"""Tables in plain text: columns as wide as what is in them."""

from collections.abc import Sequence
from typing import Any


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Numbers stand at the right, None is `-`."""
    cells = [[cell(value) for value in row] for row in rows]
    right = [all(isinstance(row[i], int | float | None) for row in rows) and bool(rows) for i in range(len(heads))]
    widths = [max(len(head), *(len(row[i]) for row in cells), 0) for i, head in enumerate(heads)]
    lines = [list(heads), *cells]
    return "\n".join(
        "  ".join(
            text.rjust(width) if at_right else text.ljust(width)
            for text, width, at_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def pairs(fields: Sequence[tuple[str, Any]]) -> str:
    """One line each: name and value."""
    width = max(len(name) for name, _ in fields)
    return "\n".join(f"{name.ljust(width)}  {cell(value)}" for name, value in fields)


def usd(amount: float | None) -> str | None:
    """US dollars, to the nano-dollar where that matters."""
    if amount is None:
        return None
    text = f"{amount:.9f}".rstrip("0")
    whole, _, part = text.partition(".")
    return f"${whole}.{part.ljust(2, '0')}"


def cell(value: Any) -> str:
    """What no terminal takes for a command."""
    if value is None or value in ("", []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return "".join(c if c.isprintable() else "?" for c in text)
