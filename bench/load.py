"""The load generator, a process of its own: keeps N connections busy and reports times and CPU as JSON.

    python -m bench.load '{"url": …}'

Closed loop: each connection sends its next request when it has its answer, and every answer is checked. CPU is read
while no request is under way, so it belongs to exactly the requests that are counted.
"""

import asyncio
import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

from . import process_tree
from .connection import Answer, Broken, Connection, clock
from .workload import MARKER, WORKLOADS, Workload

ROOT = Path(__file__).parents[1]
# What is under way when the time is up has this long to end.
GRACE_SECONDS = 30.0
_SAMPLE_LENGTH = 300


@dataclass(frozen=True)
class Job:
    """`seconds` of load after `warm_up` seconds; `requests` ends it earlier. `pids`: whose trees' CPU is read."""

    url: str
    workload: str
    connections: int
    seconds: float
    warm_up: float = 0.0
    requests: int | None = None
    model: str = "bench"
    headers: Mapping[str, str] = field(default_factory=dict)
    pids: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """Times in milliseconds, None where nothing was measured; `seconds` from the first request to the last answer.

    `cpu_ms`: per answered request, by name of the tree; `load` is the generator's own. `error`: the first one.
    """

    workload: str
    connections: int
    requests: int
    errors: int
    error: str
    seconds: float
    rate: float
    p50: float | None
    p99: float | None
    first_p50: float | None
    first_p99: float | None
    cpu_ms: Mapping[str, float]


class Tally:
    """What a stretch of load brought; times in seconds."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.first_events: list[float] = []
        self.errors = 0
        self.sample = ""

    def error(self, what: str) -> None:
        self.errors += 1
        self.sample = self.sample or what[:_SAMPLE_LENGTH]

    def answer(self, answer: Answer, workload: Workload) -> None:
        wrong = fault(answer, workload)
        if wrong:
            self.error(wrong)
            return
        self.latencies.append(answer.ended - answer.began)
        if workload.streams:
            self.first_events.append(answer.first - answer.began)


def run(job: Job) -> Result:
    """Runs the job in a process of its own. Raises RuntimeError when that fails."""
    command = [sys.executable, "-m", "bench.load", json.dumps(dataclasses.asdict(job))]
    limit = job.warm_up + job.seconds + 3 * GRACE_SECONDS
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit, check=False)
    if done.returncode:
        raise RuntimeError(f"The load generator failed: {done.stderr.strip()[-500:]}")
    return Result(**json.loads(done.stdout))


def fault(answer: Answer, workload: Workload) -> str:
    """What is wrong with an answer, or nothing."""
    body = answer.body
    if answer.status != 200:
        return f"status {answer.status}: {body[:200].decode(errors='replace')}"
    if body.startswith(b"event: response."):
        body = _deltas(body)
    if workload.streams and not body.rstrip().endswith(b"data: [DONE]"):
        return f"the stream does not end with [DONE]: …{body[-120:].decode(errors='replace')}"
    markers = body.count(MARKER)
    if markers != workload.markers:
        return f"{markers} words instead of {workload.markers}: {body[:200].decode(errors='replace')}"
    return ""


def _deltas(body: bytes) -> bytes:
    """The pieces of text in a stream of the Responses API, in the form of chat's if it is complete."""
    events = body.split(b"\n\n")
    pieces = b"".join(event for event in events if event.startswith(b"event: response.output_text.delta"))
    return pieces + (b"data: [DONE]" if any(e.startswith(b"event: response.completed") for e in events) else b"")


def request_bytes(job: Job) -> bytes:
    url = urlsplit(job.url)
    body = WORKLOADS[job.workload].body(job.model, url.path)
    headers = {
        "Host": url.netloc,
        "Accept": "*/*",
        "User-Agent": "bench",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **job.headers,
    }
    lines = [f"POST {url.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class _Client:
    """One connection's worth of load; opens a new one when the server has closed it."""

    def __init__(self, job: Job, request: bytes) -> None:
        self._request = request
        self._workload = WORKLOADS[job.workload]
        url = urlsplit(job.url)
        self._host, self._port = url.hostname or "", url.port or 80
        self._connection: Connection | None = None

    async def ask(self, tally: Tally) -> None:
        try:
            if self._connection is None or not self._connection.open:
                loop = asyncio.get_running_loop()
                self._connection = (await loop.create_connection(Connection, self._host, self._port))[1]
            answer = await self._connection.ask(self._request)
        except Broken as error:
            tally.error(f"the connection broke off: {error}")
        except OSError as error:
            tally.error(f"cannot connect: {error}")
            await asyncio.sleep(0.05)
        else:
            tally.answer(answer, self._workload)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


async def _phase(clients: Sequence[_Client], seconds: float, requests: int | None) -> tuple[Tally, float]:
    """One stretch of load, and the seconds until its last answer."""
    tally = Tally()
    began = clock()
    deadline = began + seconds
    left = math.inf if requests is None else requests

    async def keep_asking(client: _Client) -> None:
        nonlocal left
        while left > 0 and clock() < deadline:
            left -= 1
            await client.ask(tally)

    tasks = [asyncio.create_task(keep_asking(client)) for client in clients]
    ended, late = await asyncio.wait(tasks, timeout=seconds + GRACE_SECONDS)
    for task in ended:
        task.result()
    for task in late:
        task.cancel()
        tally.error("no answer within the time limit")
    for client in clients if late else ():
        client.close()
    return tally, clock() - began


async def measure(job: Job) -> Result:
    request = request_bytes(job)
    clients = [_Client(job, request) for _ in range(job.connections)]
    if job.warm_up:
        await _phase(clients, job.warm_up, None)
    pids = {**job.pids, "load": os.getpid()}
    before = {name: process_tree.cpu_seconds(pid) for name, pid in pids.items()}
    tally, seconds = await _phase(clients, job.seconds, job.requests)
    used = {name: process_tree.cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    for client in clients:
        client.close()
    answered = len(tally.latencies)
    return Result(
        workload=job.workload,
        connections=job.connections,
        requests=answered,
        errors=tally.errors,
        error=tally.sample,
        seconds=seconds,
        rate=answered / seconds,
        p50=percentile(tally.latencies, 50),
        p99=percentile(tally.latencies, 99),
        first_p50=percentile(tally.first_events, 50),
        first_p99=percentile(tally.first_events, 99),
        cpu_ms={name: 1000 * value / max(1, answered) for name, value in used.items()},
    )


def percentile(seconds: Sequence[float], rank: float) -> float | None:
    """In milliseconds, by the nearest-rank method; None of nothing."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    return 1000 * ordered[max(0, math.ceil(len(ordered) * rank / 100) - 1)]


def main(arguments: list[str]) -> None:
    fields: dict[str, Any] = json.loads(arguments[0])
    result = uvloop.run(measure(Job(**fields)))
    print(json.dumps(dataclasses.asdict(result)))


if __name__ == "__main__":
    main(sys.argv[1:])
