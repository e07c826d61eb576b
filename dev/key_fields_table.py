"""Writes the table of a key's fields in docs/keys.md: `python -m dev.key_fields_table`."""

from pathlib import Path

from worker.core.ledger.keys import FIELDS

PAGE = Path(__file__).parents[1] / "docs" / "keys.md"
_BEGIN, _END = "<!-- key fields, written by dev/key_fields_table.py -->\n", "<!-- end of key fields -->\n"


def table() -> str:
    lines = ["| field | option | |", "|---|---|---|"]
    for name, (_, field) in FIELDS.items():
        option = f"`{field.option}`" if field.option else ""
        lines.append(f"| `{name}` | {option} | {field.meaning} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """The page with the current table."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + table() + _END + after


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
