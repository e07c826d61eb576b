"""Two long looks at one gateway: does it collapse with more connections, does its memory grow with requests?"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from . import load, process_tree
from .load import Job

Say = Callable[[str], None]
SWEEP = (1, 4, 16, 64, 128, 256)
SOAK_CONNECTIONS = 32
_SOAK_STEPS = 20
_STREAM_SHARE = 10  # one request in so many is a stream
_STEP_SECONDS = 600.0


def sweep(jobs: Mapping[str, Job], seconds: float, say: Say) -> dict[str, Any]:
    """{name: {connections: {workload: {"rate", "p99", "errors"}}}}; `jobs`: one for each gateway, any workload."""
    found: dict[str, Any] = {name: {} for name in jobs}
    for connections in SWEEP:
        for name, job in jobs.items():
            cell = found[name][str(connections)] = {}
            for workload in ("plain", "stream"):
                changed = dataclasses.replace(job, workload=workload, connections=connections, seconds=seconds)
                result = load.run(changed)
                cell[workload] = {"rate": result.rate, "p99": result.p99, "errors": result.errors}
        say(f"[sweep] {connections} connections")
    return found


def soak(job: Job, requests: int, pid: int, say: Say) -> dict[str, Any]:
    """Sends so many requests in steps and looks at the memory after each; MB, and requests per second of plain calls.

    `growth`: from the end of the first tenth, when caches and pools are filled, to the end.
    """
    points: list[dict[str, float]] = []
    done = errors = 0
    for step in range(1, _SOAK_STEPS + 1):
        wanted = requests * step // _SOAK_STEPS - done
        streams = wanted // _STREAM_SHARE
        rate = 0.0
        for workload, count in (("stream", streams), ("plain", wanted - streams)):
            if not count:
                continue
            changed = dataclasses.replace(
                job, workload=workload, connections=SOAK_CONNECTIONS, requests=count, seconds=_STEP_SECONDS, warm_up=0.0
            )
            result = load.run(changed)
            done += result.requests + result.errors
            errors += result.errors
            rate = result.rate
        points.append({"requests": done, "rss": process_tree.memory(pid).rss / 1e6, "rate": rate})
        say(f"[soak] {done} of {requests} requests, {points[-1]['rss']:.1f} MB")
    tenth = points[max(0, _SOAK_STEPS // 10 - 1)]
    growth = points[-1]["rss"] - tenth["rss"]
    return {
        "requests": done,
        "errors": errors,
        "connections": SOAK_CONNECTIONS,
        "points": points,
        "growth": growth,
    }
