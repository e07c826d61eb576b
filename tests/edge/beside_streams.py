"""`python -m tests.edge.beside_streams --streams 200`: latency of a refusal and a plain answer while streams run.

The ledger's object also forwards the streams of the first container. A refusal is only an admission.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import httpx
import yaml

from container.config.load import load
from container.proxy import catalog
from dev.edge import PROXY_CLASS, WRANGLER_CONFIG, OfflineEdge, proxy_image
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import chat, deployment
from tests.processes import MASTER_KEY

SECONDS = 20.0
_PLAIN = {
    "model_name": "plain",
    "litellm_params": {"model": "openai/plain", "mock_response": "Hello out there!"},
    "model_info": {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.000002},
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.edge.beside_streams", description=__doc__)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--pace", type=float, default=0.1, help="seconds between two events of a stream")
    parser.add_argument("--checkout", type=Path, default=WRANGLER_CONFIG.parent, help="whose Worker")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, FakeProvider() as fake:
        events = int(3 * SECONDS / options.pace)
        fake.always(Behaviour(text="word " * events, chunks=events, pace=options.pace, usage=(10, 5)))
        path = Path(directory) / "litellm_config.yaml"
        path.write_text(yaml.safe_dump({"model_list": [deployment(fake, "gpt"), _PLAIN]}))
        edge = OfflineEdge(
            Path(directory),
            {"LITELLM_MASTER_KEY": MASTER_KEY, "LITELLM_LOG_LEVEL": "WARNING"},
            {PROXY_CLASS: proxy_image(path)},
            replaced={"catalog.py": catalog.source(load(path, {}))},
            wrangler_path=options.checkout / WRANGLER_CONFIG.name,
            log=lambda _: None,
        )
        edge.start()
        try:
            asyncio.run(measure(edge, options.streams))
        finally:
            edge.stop()


async def measure(edge: OfflineEdge, streams: int) -> None:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=edge.url, timeout=120, limits=limits) as client:
        master = {"authorization": f"Bearer {MASTER_KEY}"}
        made = await client.post("/key/generate", json={"rpm_limit": 0}, headers=master)
        limited = {"authorization": f"Bearer {made.json()['key']}"}
        await asked(client, master, 200, 3.0)
        for running in (0, streams):
            got = [0]
            tasks = [asyncio.ensure_future(stream(client, master, got)) for _ in range(running)]
            await asyncio.sleep(running / 20)  # until all have started
            got[0] = 0
            began = time.monotonic()
            for name, key, status in (("refusal", limited, 429), ("plain answer", master, 200)):
                took = await asked(client, key, status, SECONDS / 2)
                p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
                print(f"beside {running} streams: a {name} p50 {p50:.1f} ms, p99 {p99:.1f} ms, {len(took)} of them")
            print(f"  {got[0] / (time.monotonic() - began):.0f} events a second")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def stream(client: httpx.AsyncClient, key: dict[str, str], got: list[int]) -> None:
    async with client.stream("POST", "/v1/chat/completions", json=chat(stream=True), headers=key) as answer:
        async for _ in answer.aiter_raw():
            got[0] += 1


async def asked(client: httpx.AsyncClient, key: dict[str, str], status: int, seconds: float) -> list[float]:
    """Sends requests one after another, with pauses, and returns each one's latency in milliseconds."""
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        answer = await client.post("/v1/chat/completions", json=chat("plain"), headers=key)
        took.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == status, answer.text
        await asyncio.sleep(0.02)
    return sorted(took)


if __name__ == "__main__":
    main()
