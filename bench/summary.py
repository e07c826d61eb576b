"""A run as plain data: what is written to results.json, and what the tables and the chart are made from.

    {"machine": {…}, "plan": {…}, "missing": {name: reason}, "gateways": {name: {"title", "version", "features",
     "started", "idle", "loaded", "parts", "cells": {workload: {connections: {…}}}}}}

Times in milliseconds, memory in MB (10**6 bytes), the median of the rounds throughout; errors are added up.
"""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from .load import Result
from .measure import Plan, Run, Subject, median
from .process_tree import Memory

BASE = "minimal"
REFERENCE = "litellm"
_TIMES = ("rate", "p50", "p99", "first_p50", "first_p99")


def summarize(run: Run, plan: Plan) -> dict[str, Any]:
    return {
        "machine": machine(),
        "plan": {
            "connections": list(plan.connections),
            "workloads": list(plan.workloads),
            "rounds": plan.rounds,
            "seconds": plan.seconds,
        },
        "took": round(run.seconds),
        "others": round(run.others, 2),
        "missing": dict(run.missing),
        "gateways": {name: _gateway(subject, run.subjects.get(BASE)) for name, subject in run.subjects.items()},
        "sweep": run.sweep,
        "soak": run.soak,
    }


def machine() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "uvloop": version("uvloop"),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    except OSError:
        return platform.processor() or "unknown"


def _gateway(subject: Subject, base: Subject | None) -> dict[str, Any]:
    cells: dict[str, dict[str, Any]] = {}
    for (workload, connections), results in subject.results.items():
        compared = base.results.get((workload, connections), ()) if base else ()
        cells.setdefault(workload, {})[str(connections)] = _cell(results, compared)
    return {
        "title": subject.gateway.title,
        "version": subject.version,
        "features": subject.gateway.features,
        "started": subject.running.started if subject.running.process else None,
        "idle": _megabytes(subject.idle),
        "loaded": _megabytes(subject.loaded),
        "parts": list(subject.running.parts),
        "cells": cells,
    }


def _cell(results: Sequence[Result], base: Sequence[Result]) -> dict[str, Any]:
    """`times`: CPU per request against the base's of the same round, the median of the rounds."""
    cell: dict[str, Any] = {name: median(getattr(r, name) for r in results) for name in _TIMES}
    cell["cpu"] = {name: median(r.cpu_ms[name] for r in results) for name in results[0].cpu_ms}
    pairs = zip(results, base, strict=False)
    cell["times"] = median(ratio(mine.cpu_ms["total"], other.cpu_ms["total"]) for mine, other in pairs)
    cell["requests"] = sum(r.requests for r in results)
    cell["errors"] = sum(r.errors for r in results)
    cell["error"] = next((r.error for r in results if r.errors), "")
    return cell


def _megabytes(memory: Memory | None) -> dict[str, float] | None:
    return None if memory is None else {"rss": memory.rss / 1e6, "pss": memory.pss / 1e6}


def value(summary: Mapping[str, Any], name: str, workload: str, connections: int, *path: str) -> float | None:
    """One figure of a cell, None where it was not measured."""
    found: Any = summary["gateways"].get(name, {}).get("cells", {}).get(workload, {}).get(str(connections))
    for key in path:
        found = None if found is None else found.get(key)
    return found


def cpu(summary: Mapping[str, Any], name: str, workload: str, connections: int) -> float | None:
    """CPU of the gateway's processes per request, in ms."""
    if name == "direct":
        return None  # what is measured there is the fake provider
    return value(summary, name, workload, connections, "cpu", "total")


def times(summary: Mapping[str, Any], name: str, workload: str, connections: int) -> float | None:
    """How many times the CPU of the base it takes per request."""
    return None if name == "direct" else value(summary, name, workload, connections, "times")


def ratio(mine: float | None, other: float | None) -> float | None:
    return mine / other if mine is not None and other else None


def first_of(wanted: Iterable[int], measured: Sequence[int]) -> int:
    """The first of the wanted numbers of connections that was measured, else the last measured."""
    return next((c for c in wanted if c in measured), measured[-1])
