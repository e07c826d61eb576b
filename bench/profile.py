"""Where our proxy's time goes: py-spy samples it under load and the top functions are printed.

py-spy is fetched by uv when it is first needed; it may have to run as root.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from . import load, measure
from .processes import DidNotStart
from .workload import WORKLOADS

PY_SPY = "py-spy==0.4.3"
_RATE = 500  # samples a second
# Frames that wait for work, or hold everything.
_LOOP = ("run (uvloop", "Runner.run (", "run_forever", "wait (threading", "<module>", "_run_module", "_run_code")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("--workload", choices=list(WORKLOADS), default="plain")
    parser.add_argument("--connections", type=int, default=16, metavar="N")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S")
    parser.add_argument("--gateway", choices=("ours", "ours-limited", "minimal"), default="ours")
    parser.add_argument("--top", type=int, default=30, metavar="N", help="functions to show in each list")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        try:
            stacks, result = record(given.gateway, given.workload, given.connections, given.seconds, Path(scratch))
        except (DidNotStart, RuntimeError) as error:
            print(error, file=sys.stderr)
            return 1
    print(f"{result.rate:.0f} requests/s, {result.cpu_ms['total']:.3f} ms of CPU each (the sampling included)\n")
    print(table(stacks, given.top))
    return 0


def record(
    name: str, workload: str, connections: int, seconds: float, scratch: Path
) -> tuple[Counter[tuple[str, ...]], load.Result]:
    """Stacks, outermost function first, with the number of samples. Raises DidNotStart or RuntimeError."""
    with ExitStack() as stack:
        provider = measure.start_provider(stack, scratch)
        subjects, missing = measure.start_all([name], provider, scratch, scratch, stack, lambda _: None)
        if name not in subjects:
            raise DidNotStart(missing[name])
        running = subjects[name].running
        assert running.process is not None
        plan = measure.Plan([name], seconds=seconds + 2.0)
        job = measure.job(running, provider, workload, connections, plan)
        results: list[load.Result] = []
        loading = threading.Thread(target=lambda: results.append(load.run(job)))
        loading.start()
        try:
            stacks = sample(running.process.pid, seconds, scratch / "stacks")
        finally:
            loading.join()
        if not results:
            raise RuntimeError("The load generator failed.")
        return stacks, results[0]


def sample(pid: int, seconds: float, output: Path) -> Counter[tuple[str, ...]]:
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv) if uv.exists() else "uv", "tool", "run", PY_SPY, "record", "--format", "raw", "--nonblocking"]
    command += [
        "--rate",
        str(_RATE),
        "--duration",
        str(max(1, round(seconds))),
        "--pid",
        str(pid),
        "--output",
        str(output),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not output.exists():
        raise RuntimeError(f"py-spy cannot look into the proxy: {done.stderr.strip()[-400:]}")
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in output.read_text().splitlines():
        frames, _, count = line.rpartition(" ")
        # "function (file:line)": by function is precise enough.
        stacks[tuple(frame.rsplit(":", 1)[0] + ")" for frame in frames.split(";") if frame)] += int(count)
    return stacks


def table(stacks: Counter[tuple[str, ...]], top: int) -> str:
    """Two lists: by a function's own time, and by its time with all that it calls."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    total = sum(stacks.values()) or 1
    for frames, count in stacks.items():
        own[frames[-1] if frames else "?"] += count
        for frame in set(frames):
            whole[frame] += count
    lines = []
    for title, counted in (("own time", own), ("with what it calls", whole)):
        lines.append(f"{title}, % of {total} samples")
        shown = [(frame, n) for frame, n in counted.most_common() if not any(part in frame for part in _LOOP)]
        lines += [f"{100 * n / total:6.1f}  {frame}" for frame, n in shown[:top]]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
