"""Puts a run's figures into docs/performance.md: between two marks; the words around them are written by hand."""

from collections.abc import Mapping
from typing import Any

from . import chart, markdown
from .processes import ROOT

PATH = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance.svg"
BEGIN = "<!-- figures: written by `just bench --write-docs` -->"
END = "<!-- end of figures -->"


def write(summary: Mapping[str, Any]) -> None:
    """Raises ValueError when the marks are not in the document."""
    PATH.write_text(filled(PATH.read_text(encoding="utf-8"), summary), encoding="utf-8")
    CHART.write_text(chart.svg(summary), encoding="utf-8")


def filled(text: str, summary: Mapping[str, Any]) -> str:
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PATH.name} has to hold the lines {BEGIN!r} and {END!r}")
    machine = summary["machine"]
    where = (
        f"{machine['date']}, {machine['cpus']} × {machine['processor']}, {machine['system']}, Python "
        f"{machine['python']}, {summary['plan']['rounds']} rounds of {summary['plan']['seconds']:g} s; "
        f"the run took {summary['took']} s, while other work had {summary['others']:.0%} of the processors."
    )
    return f"{before}{BEGIN}\n\n{where}\n\n{markdown.report(summary)}\n{END}{after}"
