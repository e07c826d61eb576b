"""The progress line and the table."""

import sys
from collections import Counter
from collections.abc import Mapping
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
    blows: Counter[str],
    faults: Counter[str],
    judge: Judge,
    asked: int,
    ledger: dict[str, Any],
    watches: Mapping[str, Watch],
) -> str:
    """A Markdown table."""
    rows = [("requests", str(asked)), ("slowest", f"{judge.slowest:.1f} s")]
    rows += [(f"done: {name}", str(count)) for name, count in blows.most_common()]
    rows.append(("injected at providers", ", ".join(f"{count} {name}" for name, count in faults.most_common())))
    rows.append(("clients saw", ", ".join(f"{count} {name}" for name, count in judge.outcomes.most_common())))
    rows += [(f"failures by: {name}", str(count)) for name, count in judge.excused.most_common()]
    rows.append(("ledger in the end", ", ".join(f"{name} {value}" for name, value in ledger.items())))
    for name, watch in watches.items():
        if trend := watch.trend():
            early, late = trend
            minutes = (late.at - early.at) / 60
            memory = f"{early.memory:.1f} MB early, {late.memory:.1f} MB late, {minutes:.1f} minutes apart"
            rows.append((f"memory of {name}", memory))
            rows.append((f"descriptors, tasks of {name}", f"{early.files}, {early.tasks}; {late.files}, {late.tasks}"))
        if watch.last_life():
            last = watch.last_life()[-1]
            at_rest = f"{last.memory:.1f} MB, {last.files} descriptors, {last.tasks} tasks"
            rows.append((f"{name} at rest in the end", at_rest))
    rows.append(("findings", str(len(judge.findings))))
    return "\n".join(("| what | count |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)))
