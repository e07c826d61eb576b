"""What a request costs at the edge: `.venv/bin/python -m tests.edge.figures`.

CPU of workerd and of the container for each request, requests a second, and their 50th and 99th percentile, by kind of
request and number of clients; and how long after the last byte of an answer the ledger has it. With another checkout's
Worker beside this one's, turn by turn in the same run (its container is this one's):

    git worktree add ../before HEAD~1
    .venv/bin/python -m tests.edge.figures --before ../before --rounds 5
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import yaml

from container import catalog
from container.config import load
from dev.edge import PROXY_CLASS, WRANGLER_CONFIG, OfflineEdge, proxy_image

KEY = "sk-master-of-the-figures"
CONFIG = {
    "model_list": [
        {
            "model_name": "mock",
            "litellm_params": {"model": "openai/mock", "mock_response": "Hello out there!"},
            "model_info": {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.000002},
        }
    ]
}
BODY = {"model": "mock", "messages": [{"role": "user", "content": "Hello? " * 50}]}
EVERY_LIMIT = {
    "max_budget": 1000,
    "rpm_limit": 10**6,
    "tpm_limit": 10**9,
    "max_parallel_requests": 1000,
    "user_id": "u",
}


class Kind(NamedTuple):
    """`key`: what it is presented with; `status`: what it is answered with."""

    name: str
    clients: int
    key: str
    path: str = "/v1/chat/completions"
    status: int = 200


class Cost(NamedTuple):
    """Milliseconds for each request, but `rate`: requests a second."""

    workerd: float
    container: float
    rate: float
    p50: float
    p99: float


def edge(directory: Path, checkout: Path) -> OfflineEdge:
    directory.mkdir()
    path = directory / "litellm_config.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return OfflineEdge(
        directory,
        {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOG_LEVEL": "WARNING"},
        {PROXY_CLASS: proxy_image(path)},
        replaced={"catalog.py": catalog.source(load(path, {}))},
        wrangler_path=checkout / WRANGLER_CONFIG.name,
        log=lambda _: None,
    )


def kinds(one: OfflineEdge) -> list[Kind]:
    def new_key(fields: dict[str, object]) -> str:
        headers = {"authorization": f"Bearer {KEY}"}
        return httpx.post(f"{one.url}/key/generate", json=fields, headers=headers, timeout=60).json()["key"]

    limited = new_key(EVERY_LIMIT)
    return [
        Kind("answered by the Worker", 16, "", "/", 200),
        Kind("refused by the ledger", 16, new_key({"rpm_limit": 0}), status=429),
        Kind("master key", 1, KEY),
        Kind("master key", 16, KEY),
        Kind("key with every limit", 1, limited),
        Kind("key with every limit", 16, limited),
        Kind("key with every limit", 64, limited),
    ]


def seconds_of_cpu(pid: int | None) -> float:
    assert pid is not None
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


async def ask(client: httpx.AsyncClient, kind: Kind, requests: int) -> list[float]:
    """How long each took, in milliseconds."""
    left, took = iter(range(requests)), []

    async def one() -> None:
        for _ in left:
            began = time.perf_counter()
            if kind.key:
                answer = await client.post(kind.path, json=BODY, headers={"authorization": f"Bearer {kind.key}"})
            else:
                answer = await client.get(kind.path)
            took.append((time.perf_counter() - began) * 1000)
            assert answer.status_code == kind.status, answer.text

    await asyncio.gather(*(one() for _ in range(kind.clients)))
    return sorted(took)


async def cost(one: OfflineEdge, kind: Kind, requests: int) -> Cost:
    assert one.workerd is not None
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=kind.clients)
    async with httpx.AsyncClient(base_url=one.url, timeout=60, limits=limits) as client:
        await ask(client, kind, 4 * kind.clients)
        (container,) = one.containers("running")
        await asyncio.sleep(0.3)
        before = seconds_of_cpu(one.workerd.pid), seconds_of_cpu(container.pid), time.monotonic()
        took = await ask(client, kind, requests)
        wall = time.monotonic() - before[2]
        await asyncio.sleep(0.5)  # what is still to be fetched is paid for by these requests, too
        after = seconds_of_cpu(one.workerd.pid), seconds_of_cpu(container.pid)
    workerd, inside = ((after[i] - before[i]) * 1000 / requests for i in (0, 1))
    return Cost(workerd, inside, requests / wall, statistics.median(took), took[int(len(took) * 0.99)])


def free_after(one: OfflineEdge, *, stream: bool) -> list[float]:
    """Milliseconds from the last byte until the ledger says that nothing runs, asked as fast as it answers."""
    found = []
    with httpx.Client(base_url=one.url, headers={"authorization": f"Bearer {KEY}"}, timeout=60) as client:
        for _ in range(50):
            client.post("/v1/chat/completions", json={**BODY, "stream": stream})
            ended = time.monotonic()
            while client.get("/global/spend").json()["running_requests"]:
                pass
            found.append((time.monotonic() - ended) * 1000)
    return sorted(found)


def warm_up(one: OfflineEdge, requests: int) -> None:
    """V8 compiles Python's interpreter better while it runs: a thousand requests until that is over."""
    kind = Kind("", 16, KEY)

    async def run() -> None:
        async with httpx.AsyncClient(base_url=one.url, timeout=60) as client:
            await ask(client, kind, requests)

    asyncio.run(run())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout whose Worker is measured, too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=400, help="in each round, of each kind")
    parser.add_argument("--warm-up", type=int, default=1000)
    options = parser.parse_args()
    checkouts = {"now": WRANGLER_CONFIG.parent}
    if options.before:
        checkouts = {"before": options.before.resolve(), **checkouts}
    with tempfile.TemporaryDirectory() as directory:
        edges = {name: edge(Path(directory) / name, checkout) for name, checkout in checkouts.items()}
        try:
            measure(edges, options)
        finally:
            for one in edges.values():
                one.stop()


def measure(edges: dict[str, OfflineEdge], options: argparse.Namespace) -> None:
    for one in edges.values():
        one.start()
        warm_up(one, options.warm_up)
    asked = {name: kinds(one) for name, one in edges.items()}
    found: dict[tuple[str, int], list[Cost]] = {}
    for _ in range(options.rounds):
        for index in range(len(asked["now"])):
            for name, one in edges.items():
                cost_now = asyncio.run(cost(one, asked[name][index], options.requests))
                found.setdefault((name, index), []).append(cost_now)
    print("milliseconds of CPU and of wall clock a request, medians of the rounds")
    for index, kind in enumerate(asked["now"]):
        for name in edges:
            middle = Cost(*(statistics.median(values) for values in zip(*found[name, index], strict=True)))
            print(
                f"{kind.name}, {kind.clients} clients, {name}: workerd {middle.workerd:.2f}, container "
                f"{middle.container:.2f}; {middle.rate:.0f}/s, p50 {middle.p50:.1f}, p99 {middle.p99:.1f}"
            )
    for stream in (False, True):
        for name, one in edges.items():
            took = free_after(one, stream=stream)
            print(
                f"{'stream' if stream else 'plain'}, {name}: free {statistics.median(took):.0f} ms after the last byte "
                f"(median), {took[-1]:.0f} ms at most"
            )


if __name__ == "__main__":
    main()
