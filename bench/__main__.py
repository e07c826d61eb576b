"""Measures gateways side by side on loopback and prints the tables; ratios of CPU time are what to trust.

Competitors are installed into .dev/bench/cache, pinned, by the first run. One that cannot be installed or started
is named with the reason and left out. Raw figures go to .dev/bench/latest (results.json, report.md, overhead.svg).
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import chart, document, markdown, measure, summary
from bench.gateways import ALL, ON_REQUEST
from bench.gateways.base import Unavailable
from bench.measure import Plan
from bench.processes import ROOT, DidNotStart
from bench.workload import WORKLOADS

OUTPUT = ROOT / ".dev" / "bench"
# What --quick leaves out: the second way to run a competitor.
_NOT_QUICK = ("portkey-node",)


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    names = [name for name in ALL if (name in given.only if given.only else name not in ON_REQUEST)]
    if given.show is not None:
        try:
            return _show(json.loads(given.show.read_text()), write_docs=given.write_docs)
        except (OSError, ValueError) as error:
            print(f"{given.show} cannot be shown: {error}", file=sys.stderr)
            return 1
    if given.quick:
        names = [n for n in names if given.only or n not in _NOT_QUICK]
        plan = Plan(names, rounds=1, seconds=0.4, connections=(1, 16), prime=1.0)
    else:
        plan = Plan(names, sweep=True)
    overrides = {key: value for key in ("rounds", "seconds", "prime") if (value := getattr(given, key)) is not None}
    if given.connections:
        overrides["connections"] = tuple(given.connections)
    if given.workloads:
        overrides["workloads"] = tuple(w for w in WORKLOADS if w in given.workloads)
    plan = measure.changed(plan, soak_requests=given.soak_requests, **overrides)
    if given.write_docs and (given.quick or given.only or given.workloads or given.connections):
        print(
            "--write-docs is for a full run: without --quick, --only, --workloads and --connections.", file=sys.stderr
        )
        return 2
    return _run(plan, given.output, write_docs=given.write_docs)


def _run(plan: Plan, output: Path, *, write_docs: bool) -> int:
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    cache = OUTPUT / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        found = measure.run(plan, cache, output, say)
    except (Unavailable, DidNotStart, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; everything that was started has been ended.", file=sys.stderr)
        return 130
    result = summary.summarize(found, plan)
    (output / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    (output / "report.md").write_text(markdown.report(result))
    (output / "overhead.svg").write_text(chart.svg(result))
    say(f"raw figures: {output}")
    return _show(result, write_docs=write_docs)


def _show(result: dict[str, Any], *, write_docs: bool) -> int:
    print(markdown.report(result))
    if write_docs:
        document.write(result)
        print(f"{document.PATH.relative_to(ROOT)} and its chart are written anew.", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="See also: python -m bench.profile --help (where our proxy's time goes).",
    )
    parser.add_argument("--quick", action="store_true", help="about a minute: one round, 1 and 16 connections")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(ALL), help=f"some of: {' '.join(ALL)}")
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), help="default: all three")
    parser.add_argument("--connections", nargs="+", type=_positive, metavar="N", help="default: 1 16 64")
    parser.add_argument("--rounds", type=_positive, metavar="N", help="turns of each gateway at each workload (3)")
    parser.add_argument("--seconds", type=float, metavar="S", help="of load in a turn (0.7)")
    parser.add_argument("--prime", type=float, metavar="S", help="of load on each before anything is measured (2)")
    parser.add_argument(
        "--soak-requests", type=int, default=0, metavar="N", help="then N requests to ours, its memory watched (200000)"
    )
    parser.add_argument("--write-docs", action="store_true", help="put the figures into docs/performance.md")
    parser.add_argument("--show", type=Path, metavar="FILE", help="measure nothing: the tables of a results.json")
    parser.add_argument("--output", type=Path, default=OUTPUT / "latest", metavar="DIR", help="default: %(default)s")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be over 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
