"""Benchmark of the edge: `.venv/bin/python -m tests.edge.figures`.

Measures CPU time per request of workerd, the container, and the stand-in for the network between them; requests per
second; and latency (50th and 99th percentile), by kind of request and number of clients. The clients are a process of
their own, which is not counted. Also measures the time from the last byte of a response to its settlement, and from the
start of workerd to its first response: with Worker and objects in one isolate, and with one for each that the request
passes through, as on Cloudflare. Another checkout's Worker can be measured in turns with this one's
(with this checkout's container), and so can the baseline: a Worker that only forwards, through one object, to a
container that answers immediately.

    git worktree add ../before HEAD~1
    .venv/bin/python -m tests.edge.figures --before ../before --floor --rounds 5 --kinds 2,3
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import httpx
import yaml

from bench import process_tree
from container.config.load import load
from container.proxy import catalog
from dev.edge import PROXY_CLASS, WRANGLER_CONFIG, OfflineEdge, proxy_image
from dev.process_engine.containers import Image
from tests.edge.load import Job, Load
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import deployment

KEY = "sk-master-of-the-figures"
FLOOR = Path(__file__).parent / "floor"
EVENTS = 50
PACE = 0.02
_MOCK = {
    "model_name": "mock",
    "litellm_params": {"model": "openai/mock", "mock_response": "Hello out there!"},
    "model_info": {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.000002},
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
    """A kind of request. `key`: the key it is sent with; `status`: the expected status."""

    name: str
    clients: int
    key: str
    path: str = "/v1/chat/completions"
    status: int = 200
    model: str = "mock"  # the others stream


class Cost(NamedTuple):
    """Milliseconds per request, except `rate`: requests per second."""

    workerd: float
    container: float
    network: float
    rate: float
    p50: float
    p99: float


def provider() -> FakeProvider:
    """A provider that streams EVENTS events: `stream` as fast as it can, `paced` one every PACE seconds."""
    fake = FakeProvider()
    for model, pace in (("stream", 0.0), ("paced", PACE)):
        fake.always(Behaviour(text="word " * EVENTS, chunks=EVENTS, pace=pace, usage=(10, EVENTS)), model=model)
    return fake


def edge(directory: Path, checkout: Path, fake: FakeProvider) -> OfflineEdge:
    directory.mkdir()
    path = directory / "litellm_config.yaml"
    path.write_text(yaml.safe_dump({"model_list": [_MOCK, deployment(fake, "stream"), deployment(fake, "paced")]}))
    return OfflineEdge(
        directory,
        {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOG_LEVEL": "WARNING"},
        {PROXY_CLASS: proxy_image(path)},
        replaced={"catalog.py": catalog.source(load(path, {}))},
        wrangler_path=checkout / WRANGLER_CONFIG.name,
        log=lambda _: None,
    )


def floor(directory: Path) -> OfflineEdge:
    directory.mkdir()
    runtime = WRANGLER_CONFIG.parent / "worker" / "edge" / "runtime"
    return OfflineEdge(
        directory,
        {},
        {"Forwarder": Image((sys.executable, str(FLOOR / "answers.py")))},
        replaced={f"edge/runtime/{path.name}": path.read_text("utf-8") for path in runtime.glob("*.py")},
        wrangler_path=FLOOR / WRANGLER_CONFIG.name,
        log=lambda _: None,
    )


def kinds(one: OfflineEdge, name: str) -> list[Kind]:
    def new_key(fields: dict[str, object]) -> str:
        if name == "floor":
            return KEY  # not checked
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
        Kind("stream", 16, limited, model="stream"),
        Kind("paced stream", 16, limited, model="paced"),
    ]


def seconds_of_cpu(one: OfflineEdge) -> tuple[float, float, float]:
    """Of workerd, the containers, and the network's stand-in."""
    assert one.workerd is not None
    assert one.workerd.pid is not None
    assert one.engine is not None
    pids = [container.pid for container in one.containers("running") if container.pid is not None]
    return process_tree.cpu_seconds(one.workerd.pid), sum(map(process_tree.cpu_seconds, pids)), one.engine.cpu_seconds


def job(one: OfflineEdge, kind: Kind, warm_up: int, requests: int) -> Job:
    stream = kind.model != "mock"
    body = {**BODY, "model": kind.model, "stream": stream} if kind.key else None
    end = "data: [DONE]" if stream else "}" if body else ""
    return Job(one.url + kind.path, kind.key, body, kind.status, end, kind.clients, warm_up, requests)


def cost(one: OfflineEdge, kind: Kind, requests: int) -> Cost:
    with Load(job(one, kind, 4 * kind.clients, requests)) as load:
        time.sleep(0.3)
        before = seconds_of_cpu(one)
        took, seconds = load.run()
        time.sleep(0.5)  # includes fetching the reports that are still pending
        after = seconds_of_cpu(one)
    workerd, inside, network = ((now - then) * 1000 / requests for now, then in zip(after, before, strict=True))
    return Cost(workerd, inside, network, requests / seconds, statistics.median(took), took[int(len(took) * 0.99)])


def free_after(one: OfflineEdge, *, stream: bool) -> list[float]:
    """Milliseconds from the last byte until the ledger shows no running request. Polls without a pause."""
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
    """V8 optimizes Python's interpreter during the first thousands of requests."""
    with Load(job(one, Kind("", 16, KEY), requests, 0)):
        pass


def set_apart(one: OfflineEdge) -> None:
    """Gives each Durable Object that a plain request passes through an isolate of its own, as Cloudflare does."""
    passed = {*one.config.bindings.values()}
    if {*one.config.containers} & (passed - {PROXY_CLASS}):
        passed.discard(PROXY_CLASS)  # it has the further containers
    one.apart = sorted(passed)


def cold(one: OfflineEdge) -> tuple[float, float]:
    """Seconds from the start of workerd to the first plain response, and workerd's seconds of CPU until then.

    The container is already running.
    """
    assert one.workerd is not None
    one.kill_worker()
    began = time.monotonic()
    one.workerd.start()
    one.workerd.wait_until_ready("/")
    headers = {"authorization": f"Bearer {KEY}"}
    assert httpx.post(f"{one.url}/v1/chat/completions", json=BODY, headers=headers, timeout=60).status_code == 200
    return time.monotonic() - began, seconds_of_cpu(one)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout whose Worker is measured, too")
    parser.add_argument("--floor", action="store_true", help="measure the floor, too")
    parser.add_argument("--kinds", help="only these kinds: their numbers from 0, with commas between them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=400, help="in each round, of each kind")
    parser.add_argument("--warm-up", type=int, default=2000)
    parser.add_argument("--only-cold", action="store_true", help="only the time to the first answer")
    options = parser.parse_args()
    checkouts = {"now": WRANGLER_CONFIG.parent}
    if options.before:
        checkouts = {"before": options.before.resolve(), **checkouts}
    with tempfile.TemporaryDirectory() as directory, provider() as fake, contextlib.ExitStack() as stack:
        edges = {name: edge(Path(directory) / name, checkout, fake) for name, checkout in checkouts.items()}
        if options.floor:
            edges["floor"] = floor(Path(directory) / "floor")
        for one in edges.values():
            stack.callback(one.stop)
            one.start("/")
            warm_up(one, 4 if options.only_cold else options.warm_up)
        if not options.only_cold:
            measure(edges, options)
        measure_cold(edges, options.rounds, "one fresh isolate")
        for one in edges.values():
            set_apart(one)
            one.deploy(one.vars, "/")
        measure_cold(edges, options.rounds, "a fresh isolate for each hop")


def measure_cold(edges: dict[str, OfflineEdge], rounds: int, what: str) -> None:
    starts: dict[str, list[tuple[float, float]]] = {name: [] for name in edges}
    for _ in range(rounds):
        for name, one in edges.items():
            starts[name].append(cold(one))
    first = [statistics.median(each) for each in zip(*next(iter(starts.values())), strict=True)]
    for name, took in starts.items():
        after, cpu = (statistics.median(each) for each in zip(*took, strict=True))
        print(
            f"{what}, {name}: first answer after {after:.2f} s ({after / first[0]:.2f}×), "
            f"{cpu:.2f} s of workerd's CPU ({cpu / first[1]:.2f}×) (medians)",
            flush=True,
        )


def measure(edges: dict[str, OfflineEdge], options: argparse.Namespace) -> None:
    asked = {name: kinds(one, name) for name, one in edges.items()}
    chosen = map(int, options.kinds.split(",")) if options.kinds else range(len(asked["now"]))
    print("milliseconds of CPU and of wall clock a request, medians of the rounds; × is against the first")
    for index in chosen:
        kind = asked["now"][index]
        checked = kind.key != KEY and kind.model == "mock"
        those = {name: one for name, one in edges.items() if name != "floor" or not checked}  # the floor checks no key
        found: dict[str, list[Cost]] = {name: [] for name in those}
        for _ in range(options.rounds):
            for name, one in those.items():
                found[name].append(cost(one, asked[name][index], options.requests))
        first = _middle(next(iter(found.values())))
        for name, costs in found.items():
            middle = _middle(costs)
            everything = sum(middle[:3]) / sum(first[:3])
            print(
                f"{kind.name}, {kind.clients} clients, {name}: workerd {middle.workerd:.2f} "
                f"({middle.workerd / first.workerd:.2f}×), container {middle.container:.2f}, "
                f"network {middle.network:.2f} (all {everything:.2f}×); "
                f"{middle.rate:.0f}/s ({middle.rate / first.rate:.2f}×), p50 {middle.p50:.1f} "
                f"({middle.p50 / first.p50:.2f}×), p99 {middle.p99:.1f}",
                flush=True,
            )
    if options.kinds:
        return
    for stream in (False, True):
        for name, one in edges.items():
            if name == "floor":
                continue
            took = free_after(one, stream=stream)
            print(
                f"{'stream' if stream else 'plain'}, {name}: free {statistics.median(took):.0f} ms after the last byte "
                f"(median), {took[-1]:.0f} ms at most"
            )


def _middle(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


if __name__ == "__main__":
    main()
