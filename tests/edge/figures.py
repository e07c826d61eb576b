"""What fetching the usage costs: `.venv/bin/python -m tests.edge.figures`.

CPU of workerd and of the container for each request, with the journal fetched and without, by 1 and 16 clients; and how
long after the last byte the ledger has it.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import psutil
import yaml

from container.config import catalog, load
from dev.edge import PROXY_CLASS, OfflineEdge, proxy_image

KEY = "sk-master-of-the-figures"
REQUESTS = 600
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


def edge(directory: Path, *, fetching: bool) -> OfflineEdge:
    directory.mkdir()
    path = directory / "litellm_config.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    replaced = {"catalog.py": catalog.source(load(path, {}))}
    if not fetching:
        source = (Path(__file__).parents[2] / "worker" / "usage_drain.py").read_text()
        mute = source.replace("        self._touched += 1\n", "        return\n")
        assert mute != source
        replaced["usage_drain.py"] = mute
    variables = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOG_LEVEL": "WARNING"}
    return OfflineEdge(directory, variables, {PROXY_CLASS: proxy_image(path)}, replaced=replaced, log=lambda _: None)


def seconds_of_cpu(pid: int | None) -> float:
    assert pid is not None
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


async def ask(client: httpx.AsyncClient, requests: int, clients: int) -> None:
    left = iter(range(requests))

    async def one() -> None:
        for _ in left:
            answer = await client.post("/v1/chat/completions", json=BODY)
            assert answer.status_code == 200, answer.text

    await asyncio.gather(*(one() for _ in range(clients)))


async def cpu(one: OfflineEdge, clients: int) -> tuple[float, float, float]:
    """Milliseconds for each request: workerd, container, wall clock."""
    assert one.workerd is not None
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=one.url, headers=headers, timeout=60) as client:
        await ask(client, 100, clients)
        (container,) = one.containers("running")
        before = seconds_of_cpu(one.workerd.pid), seconds_of_cpu(container.pid), time.monotonic()
        await ask(client, REQUESTS, clients)
        await asyncio.sleep(1)  # what is still to be fetched is paid for by these requests, too
        after = seconds_of_cpu(one.workerd.pid), seconds_of_cpu(container.pid), time.monotonic() - 1
    workerd, inside, wall = ((end - begin) * 1000 / REQUESTS for begin, end in zip(before, after, strict=True))
    return workerd, inside, wall


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


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        for fetching in (False, True):
            one = edge(Path(directory) / f"edge-{fetching}", fetching=fetching)
            one.start()
            try:
                for clients in (1, 16):
                    workerd, inside, wall = asyncio.run(cpu(one, clients))
                    print(
                        f"{'fetched' if fetching else 'not fetched'}, {clients} clients: workerd {workerd:.2f} ms, "
                        f"container {inside:.2f} ms of CPU a request, {wall:.2f} ms of wall clock"
                    )
                if fetching:
                    for stream in (False, True):
                        found = free_after(one, stream=stream)
                        print(
                            f"{'stream' if stream else 'plain'}: free {statistics.median(found):.0f} ms after the last "
                            f"byte (median), {found[-1]:.0f} ms at most"
                        )
            finally:
                one.stop()


if __name__ == "__main__":
    main()
