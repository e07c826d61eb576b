"""The clients of `figures`, a process of its own: they keep connections busy and return each request's latency.

with Load(Job(url, …)) as load:  # connected and warm
    latencies, seconds = load.run()
"""

import asyncio
import json
import subprocess
import sys
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import uvloop

from bench.connection import Connection, clock
from dev.offline.tools import REPOSITORY

_EXCERPT = 300


class Job(NamedTuple):
    """`warm_up` requests, then `requests`, over `clients` connections. `body`: None for GET. Every response must have
    this status and end with `end`."""

    url: str
    key: str
    body: dict[str, object] | None
    status: int
    end: str
    clients: int
    warm_up: int
    requests: int


class Load:
    """Raises RuntimeError if a response is not as expected."""

    def __init__(self, job: Job) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.edge.load", json.dumps(job)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        try:
            self._line()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self) -> tuple[list[float], float]:
        """Returns the latencies in milliseconds, ascending, and the seconds that all requests took."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        latencies, seconds = json.loads(self._line())
        return latencies, seconds

    def _line(self) -> str:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The load failed: {self._process.stderr.read().strip()[-2 * _EXCERPT :]}")
        return line


def request_bytes(job: Job) -> bytes:
    url = urlsplit(job.url)
    method, body = ("GET", b"") if job.body is None else ("POST", json.dumps(job.body).encode())
    lines = [f"{method} {url.path} HTTP/1.1", f"Host: {url.netloc}", "Accept: */*", "User-Agent: figures"]
    if job.key:
        lines.append(f"Authorization: Bearer {job.key}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def ask(job: Job, connections: list[Connection], requests: int) -> tuple[list[float], float]:
    request, end = request_bytes(job), job.end.encode()
    left, took = iter(range(requests)), []

    async def one(connection: Connection) -> None:
        for _ in left:
            answer = await connection.ask(request)
            if answer.status != job.status or not answer.body.rstrip().endswith(end):
                raise RuntimeError(f"status {answer.status}: …{answer.body[-_EXCERPT:].decode(errors='replace')}")
            took.append((answer.ended - answer.began) * 1000)

    began = clock()
    await asyncio.gather(*map(one, connections))
    return sorted(took), clock() - began


async def main(job: Job) -> None:
    loop, url = asyncio.get_running_loop(), urlsplit(job.url)
    made = [await loop.create_connection(Connection, url.hostname, url.port) for _ in range(job.clients)]
    connections = [protocol for _, protocol in made]
    await ask(job, connections, job.warm_up)
    print("ready", flush=True)
    while sys.stdin.readline():
        print(json.dumps(await ask(job, connections, job.requests)), flush=True)


if __name__ == "__main__":
    uvloop.run(main(Job._make(json.loads(sys.argv[1]))))
