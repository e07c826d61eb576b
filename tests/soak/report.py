"""The progress line and the table."""

import sys
from collections import Counter
from typing import Any

from .judge import Judge
from .watch import Watch


def progress(at: float, seconds: float, asked: int, judge: Judge, doing: str) -> str:
    minutes = f"{int(at) // 60}:{int(at) % 60:02d} of {int(seconds) // 60}:{int(seconds) % 60:02d}"
    excused = sum(judge.excused.values())
    return f"[soak] {minutes}, {asked} requests, {excused} injected failures seen, {len(judge.findings)} findings" + (
        f", now: {doing}" if doing else ""
    )


def say(line: str) -> None:
    """On a terminal, replaces the previous line."""
    end, start = ("", "\r\x1b[K") if sys.stderr.isatty() else ("\n", "")
    print(start + line, end=end, file=sys.stderr, flush=True)


def table(
    blows: Counter[str], faults: Counter[str], judge: Judge, asked: int, ledger: dict[str, Any], watch: Watch | None
) -> str:
    """A Markdown table."""
    rows = [("requests", str(asked)), ("slowest", f"{judge.slowest:.1f} s")]
    rows += [(f"done: {name}", str(count)) for name, count in blows.most_common()]
    rows.append(("injected at providers", ", ".join(f"{count} {name}" for name, count in faults.most_common())))
    rows.append(("clients saw", ", ".join(f"{count} {name}" for name, count in judge.outcomes.most_common())))
    rows += [(f"failures by: {name}", str(count)) for name, count in judge.excused.most_common()]
    rows.append(("ledger in the end", ", ".join(f"{name} {value}" for name, value in ledger.items())))
    trend = watch.trend() if watch else None
    if trend:
        early, late = trend
        rows.append(("memory", f"{early.memory:.1f} MB early, {late.memory:.1f} MB late"))
        rows.append(("file descriptors", f"{early.files} early, {late.files} late"))
        rows.append(("tasks", f"{early.tasks} early, {late.tasks} late"))
    if watch and watch.last_life():
        last = watch.last_life()[-1]
        rows.append(("at rest in the end", f"{last.memory:.1f} MB, {last.files} descriptors, {last.tasks} tasks"))
    rows.append(("findings", str(len(judge.findings))))
    return "\n".join(("| what | count |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)))
