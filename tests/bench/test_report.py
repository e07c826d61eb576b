"""Tables, chart and document, made from invented figures."""

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from bench import chart, document, markdown, summary
from bench.gateways.base import Running
from bench.gateways.limits import Direct, Minimal
from bench.gateways.litellm import LiteLLM
from bench.gateways.ours import Ours
from bench.gateways.worker import Worker
from bench.load import Result
from bench.measure import Plan, Run, Subject
from bench.process_tree import Memory
from bench.processes import ROOT

PLAN = Plan(["direct", "minimal", "ours", "worker", "litellm"], connections=(1, 16))
CPU = {Direct: 0.01, Minimal: 0.1, Ours: 0.15, Worker: 3.0, LiteLLM: 9.0}


class Started:
    """Stands in for a process."""

    pid = 1


def result(workload: str, connections: int, cpu: float, errors: int = 0) -> Result:
    first = 1.0 if workload != "plain" else None
    used = {"total": cpu, "worker": cpu / 2, "proxy": cpu / 4, "load": 0.02}
    text = "status 500" if errors else ""
    return Result(workload, connections, 100, errors, text, 1.0, 1000 / cpu, cpu * 2, cpu * 4, first, first, used)


def figures(**changes: Any) -> dict[str, Any]:
    subjects = {}
    for kind, cpu in CPU.items():
        gateway = kind()
        process: Any = None if kind is Direct else Started()
        running = Running("http://x", "bench", {}, process, 0.5, {"worker": 2, "proxy": 3} if kind is Worker else {})
        subject = Subject(gateway, "1.0", running, Memory(50_000_000, 40_000_000), Memory(60_000_000, 50_000_000))
        if kind is Direct:
            subject.idle = subject.loaded = None
        for workload in PLAN.workloads:
            for connections in PLAN.connections:
                # In the second round the machine was busy, for every gateway.
                subject.results[workload, connections] = [
                    result(workload, connections, cpu * busy) for busy in (1.0, 2.0, 1.0)
                ]
        subjects[gateway.name] = subject
    run = Run(subjects, {"tensorzero": "it cannot be installed"}, others=0.25, seconds=42.0)
    return {**summary.summarize(run, PLAN), **changes}


def test_ratios_are_taken_per_round():
    found = figures()
    assert summary.times(found, "ours", "plain", 16) == pytest.approx(1.5)
    assert summary.cpu(found, "ours", "plain", 16) == pytest.approx(0.15)
    assert summary.times(found, "direct", "plain", 16) is None


def test_the_report_begins_with_the_ratios():
    text = markdown.report(figures())
    assert text.startswith("## CPU per request")
    ours = next(line for line in text.splitlines() if line.startswith("| **LiteLLM Router: proxy**"))
    assert "1.50× (0.15)" in ours
    assert "60×" in ours  # LiteLLM's 9 ms against 0.15
    assert "Not measured: tensorzero, because it cannot be installed" in text
    assert "## What each hop of the edge costs" in text


def test_tables_are_rectangular():
    sweep = {"ours": {"1": {w: {"rate": 10.0, "p99": 1.0, "errors": 0} for w in ("plain", "stream")}}}
    point = {"requests": 10, "rss": 50.0, "rate": 5.0}
    soak = {"requests": 10, "errors": 0, "connections": 32, "points": [point], "growth": 0.1}
    blocks = markdown.report(figures(sweep=sweep, soak=soak)).split("\n\n")
    tables = [block.splitlines() for block in blocks if block.startswith("|")]
    assert len(tables) == 9
    for table in tables:
        assert {line.count("|") for line in table} == {table[0].count("|")}


def test_added_latency_is_relative_to_the_direct_call():
    text = markdown.report(figures()).split("## Latency")[1]
    assert "| direct | 0.02 |" in text
    assert "| LiteLLM Router: proxy | +0.28 |" in text


def test_the_chart_is_valid_and_shows_every_gateway():
    root = ET.fromstring(chart.svg(figures()))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for title in ("40 lines of aiohttp", "LiteLLM Router: proxy", "LiteLLM proxy"):
        assert title in texts
    assert "1.50×" in texts
    bars = [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if e.get("height") == "13"]
    assert len(bars) == 4 * len(PLAN.workloads)


def test_a_run_without_the_baseline_still_has_a_report():
    found = figures()
    del found["gateways"]["minimal"]
    for gateway in found["gateways"].values():
        for cells in gateway["cells"].values():
            for cell in cells.values():
                cell["times"] = None
    assert "(0.15)" in markdown.report(found)
    ET.fromstring(chart.svg(found))


def test_only_the_marked_part_of_the_document_is_replaced():
    before = f"# Performance\n\nWords.\n\n{document.BEGIN}\nold\n{document.END}\n\nMore words.\n"
    after = document.filled(before, figures())
    assert after.startswith("# Performance\n\nWords.\n")
    assert after.endswith(f"{document.END}\n\nMore words.\n")
    assert "old" not in after
    assert "other work had 25% of the processors" in after
    assert document.filled(after, figures()) == after


def test_a_document_without_markers_is_refused():
    with pytest.raises(ValueError, match="has to hold the lines"):
        document.filled("# Performance\n", figures())


def test_the_projects_document_has_the_markers():
    assert document.END in (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
