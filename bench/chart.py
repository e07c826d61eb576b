"""The overhead of each gateway as a picture: CPU per request against the 40 lines of aiohttp, logarithmic."""

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from .summary import first_of, times
from .workload import WORKLOADS

_LABELS = 230  # width of the names on the left, in pixels; so are the rest
_BARS = 520
_RIGHT = 90
_BAR = 15
_GAP = 12
_TOP = 64
_BOTTOM = 56
_COLOURS = {"plain": "#3b6fb6", "stream": "#d9822b", "paced": "#5a9e6f"}


def svg(summary: Mapping[str, Any]) -> str:
    """A whole SVG document; readable on light and on dark pages."""
    connections = first_of((16,), summary["plan"]["connections"])
    workloads = list(summary["plan"]["workloads"])
    ratios = {
        name: {w: times(summary, name, w, connections) for w in workloads}
        for name in summary["gateways"]
        if name != "direct"
    }
    known = [r for by in ratios.values() for r in by.values() if r]
    if not known:
        return '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>\n'
    low = 10 ** math.floor(math.log10(min(*known, 1.0)))
    high = 10 ** math.ceil(math.log10(max(*known, 2.0)))

    def x(value: float) -> float:
        return _LABELS + _BARS * (math.log10(value / low)) / math.log10(high / low)

    group = len(workloads) * _BAR + _GAP
    height = _TOP + group * len(ratios) + _BOTTOM
    width = _LABELS + _BARS + _RIGHT
    parts = [_text(16, 24, f"CPU per request, against 40 lines of aiohttp ({connections} connections)", "title")]
    parts += _legend(workloads)
    bottom = height - _BOTTOM
    for exponent in range(round(math.log10(low)), round(math.log10(high)) + 1):
        at = 10.0**exponent
        parts.append(f'<line class="grid" x1="{x(at):.1f}" y1="{_TOP - 6}" x2="{x(at):.1f}" y2="{bottom}"/>')
        parts.append(_text(x(at), bottom + 18, f"{at:g}×", "axis", "middle"))
    parts.append(f'<line class="one" x1="{x(1):.1f}" y1="{_TOP - 6}" x2="{x(1):.1f}" y2="{bottom}"/>')
    for row, (name, by) in enumerate(ratios.items()):
        top = _TOP + row * group
        style = "name ours" if name == "ours" else "name"
        parts.append(_text(_LABELS - 10, top + group / 2, summary["gateways"][name]["title"], style, "end"))
        for index, workload in enumerate(workloads):
            value = by[workload]
            if value is None:
                continue
            y = top + index * _BAR
            length = max(1.0, x(value) - _LABELS)
            parts.append(
                f'<rect x="{_LABELS}" y="{y}" width="{length:.1f}" height="{_BAR - 2}" fill="{_COLOURS[workload]}"/>'
            )
            label = f"{value:.2f}×" if value < 10 else f"{value:.0f}×"
            parts.append(_text(_LABELS + length + 5, y + _BAR - 4, label, "value"))
    parts.append(
        _text(16, height - 10, "Logarithmic scale: each line to the right is ten times the one before.", "axis")
    )
    return _document(width, height, parts)


def _legend(workloads: list[str]) -> list[str]:
    parts, at = [], 16.0
    for workload in workloads:
        title = WORKLOADS[workload].title
        parts.append(f'<rect x="{at:.0f}" y="36" width="11" height="11" fill="{_COLOURS[workload]}"/>')
        parts.append(_text(at + 16, 46, title, "axis"))
        at += 40 + 6.6 * len(title)
    return parts


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _document(width: float, height: float, parts: list[str]) -> str:
    style = (
        "text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-weight:600;font-size:15px}.ours{font-weight:700}"
        ".axis{fill:#57606a;font-size:11px}.value{font-size:11px}.grid{stroke:#d0d7de}.one{stroke:#24292f;"
        "stroke-dasharray:3 3}.page{fill:#ffffff}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis{fill:#9198a1}.grid{stroke:#3d444d}"
        ".one{stroke:#e6edf3}.page{fill:#0d1117}}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    page = f'<rect class="page" width="{width}" height="{height}"/>'
    return "\n".join([head, f"<style>{style}</style>", page, *parts, "</svg>"]) + "\n"
