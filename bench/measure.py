"""A run: everything is started once, then each cell of the matrix is measured for all gateways in turn, several times.

Turn by turn, because the machine's other work changes from second to second: what is compared was measured together.
"""

import dataclasses
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import endurance, load, process_tree
from bench.gateways import ALL
from bench.gateways.base import Gateway, Running, Unavailable
from bench.processes import DidNotStart, Process, free_port
from bench.workload import WORKLOADS

Say = Callable[[str], None]
_PROVIDER_SECONDS = 15.0
PACED_SECONDS = 1.5
PACED_ROUNDS = 2
OWN = "ours"
SWEPT = (OWN, "minimal")


@dataclass(frozen=True)
class Plan:
    """`seconds` of load in each of `rounds` turns, for every workload with every number of connections.

    `prime` seconds of load go before everything else, for compilers that learn from it. `sweep`: from 1 to 256
    connections; `soak_requests`: so many at the end. Both for our own proxy, the sweep for the 40 lines, too.
    """

    names: Sequence[str]
    workloads: Sequence[str] = tuple(WORKLOADS)
    connections: Sequence[int] = (1, 16, 64)
    rounds: int = 3
    seconds: float = 0.7
    warm_up: float = 0.2
    prime: float = 2.0
    sweep: bool = False
    soak_requests: int = 0


@dataclass
class Subject:
    """A gateway in a run. Memory in bytes; `results` by (workload, connections), one for each round."""

    gateway: Gateway
    version: str
    running: Running
    idle: process_tree.Memory | None = None
    loaded: process_tree.Memory | None = None
    results: dict[tuple[str, int], list[load.Result]] = field(default_factory=dict)

    def memory(self) -> process_tree.Memory | None:
        process = self.running.process
        return None if process is None else process_tree.memory(process.pid)


@dataclass
class Run:
    """`missing`: why a gateway was not measured, by name. `others`: the share of the machine's processors that work
    other than this run's took meanwhile."""

    subjects: dict[str, Subject]
    missing: dict[str, str]
    others: float = 0.0
    sweep: dict[str, Any] | None = None
    soak: dict[str, Any] | None = None
    seconds: float = 0.0


def changed(plan: Plan, **fields: Any) -> Plan:
    return dataclasses.replace(plan, **fields)


def run(plan: Plan, cache: Path, directory: Path, say: Say) -> Run:
    """Raises Unavailable when not one gateway can be measured."""
    began = time.monotonic()
    with ExitStack() as stack:
        provider = start_provider(stack, directory)
        subjects, missing = start_all(plan.names, provider, cache, directory, stack, say)
        if not subjects:
            raise Unavailable("Nothing can be measured: " + "; ".join(f"{k}: {v}" for k, v in missing.items()))
        for subject in subjects.values():
            subject.idle = subject.memory()
        for subject in subjects.values():
            for workload in ("plain", "stream"):
                load.run(dataclasses.replace(job(subject.running, provider, workload, 16, plan), seconds=plan.prime))
        busy, own, since = process_tree.machine_busy_seconds(), _own_seconds(), time.monotonic()
        _matrix(plan, subjects, provider, say)
        busy, own, lasted = process_tree.machine_busy_seconds() - busy, _own_seconds() - own, time.monotonic() - since
        for subject in subjects.values():
            subject.loaded = subject.memory()
        found = Run(subjects, missing, others=max(0.0, busy - own) / (lasted * (os.cpu_count() or 1)))
        jobs = {n: job(subjects[n].running, provider, "plain", 1, plan) for n in SWEPT if n in subjects}
        if plan.sweep and OWN in jobs:
            found.sweep = endurance.sweep(jobs, plan.seconds, say)
        if plan.soak_requests and OWN in jobs:
            process = subjects[OWN].running.process
            assert process is not None
            found.soak = endurance.soak(jobs[OWN], plan.soak_requests, process.pid, say)
    found.seconds = time.monotonic() - began
    return found


def _own_seconds() -> float:
    return process_tree.cpu_seconds(os.getpid())


def _matrix(plan: Plan, subjects: Mapping[str, Subject], provider: Process, say: Say) -> None:
    cells = [(w, c) for w in plan.workloads for c in plan.connections]
    for number, (workload, connections) in enumerate(cells, 1):
        began = time.monotonic()
        # A paced stream takes its time whoever passes it on: fewer turns tell as much.
        for _ in range(min(plan.rounds, PACED_ROUNDS) if workload == "paced" else plan.rounds):
            for subject in subjects.values():
                result = load.run(job(subject.running, provider, workload, connections, plan))
                subject.results.setdefault((workload, connections), []).append(result)
        faults = _faults(subjects, workload, connections)
        took = time.monotonic() - began
        say(f"[{number}/{len(cells)}] {workload}, {connections} connections: {took:.0f} s{faults}")


def job(running: Running, provider: Process, workload: str, connections: int, plan: Plan) -> load.Job:
    tree = running.process or provider
    return load.Job(
        url=running.chat_url,
        workload=workload,
        connections=connections,
        # A paced stream alone takes longer than a short turn.
        seconds=max(plan.seconds, PACED_SECONDS) if workload == "paced" else plan.seconds,
        warm_up=plan.warm_up,
        model=running.model,
        headers=running.headers,
        pids={"total": tree.pid, "provider": provider.pid, **running.parts},
    )


def start_provider(stack: ExitStack, directory: Path) -> "Provider":
    port = free_port()
    process = Provider([sys.executable, "-m", "bench.provider", "--port", str(port)], directory / "provider.log")
    stack.callback(process.stop)
    process.url = f"http://127.0.0.1:{port}/v1"
    process.wait_for(process.url, _PROVIDER_SECONDS)
    return process


class Provider(Process):
    """The fake provider; `url` ends in /v1."""

    url: str


def start_all(
    names: Iterable[str], provider: "Provider", cache: Path, directory: Path, stack: ExitStack, say: Say
) -> tuple[dict[str, Subject], dict[str, str]]:
    """What could be started, each with one checked answer, and why the rest could not. `stack` ends them."""
    subjects: dict[str, Subject] = {}
    missing: dict[str, str] = {}
    for name in names:
        gateway = ALL[name]()
        own = directory / name
        shutil.rmtree(own, ignore_errors=True)  # the ledger of an earlier run has its keys, teams and rows
        own.mkdir(parents=True)
        try:
            version = gateway.install(cache)
            running = gateway.start(provider.url, own)
            if running.process is not None:
                stack.callback(running.process.stop)
            _prove(running)
        except (Unavailable, DidNotStart) as error:
            missing[name] = str(error)
            say(f"{gateway.title}: not measured, {error}")
            continue
        subjects[name] = Subject(gateway, version, running)
        say(
            f"{gateway.title} {version}".rstrip()
            + (f": healthy after {running.started:.1f} s" if running.process else "")
        )
    return subjects, missing


def _prove(running: Running) -> None:
    """One answer of each kind. Raises DidNotStart with what is wrong with it."""
    for workload in WORKLOADS:
        result = load.run(
            load.Job(running.chat_url, workload, 1, 30.0, requests=1, model=running.model, headers=running.headers)
        )
        if result.errors:
            raise DidNotStart(f"its answer to a {WORKLOADS[workload].title} is wrong: {result.error}")


def _faults(subjects: Mapping[str, Subject], workload: str, connections: int) -> str:
    found = {}
    for name, subject in subjects.items():
        for result in subject.results[workload, connections]:
            if result.errors:
                found[name] = f"{result.errors} errors of {name} ({result.error})"
    return "".join(f"; {text}" for text in found.values())


def median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
