"""`python -m tests.edge.long_stream --minutes 20`: one stream through the edge with real leases.

Its container would sleep after 20 idle seconds. Too slow for every test run. Exits with 1 if the stream breaks or its
settlement is wrong.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import httpx
import yaml

from container.config.load import load
from container.proxy import catalog
from dev.edge import PROXY_CLASS, OfflineEdge, proxy_image
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import chat, deployment
from tests.processes import MASTER_KEY

_PACE = 2.0  # seconds between two events
_SLEEPS_WITHIN = 180.0
_AUTHORIZED = {"authorization": f"Bearer {MASTER_KEY}"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.edge.long_stream", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    words = int(parser.parse_args().minutes * 60 / _PACE)
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as directory, FakeProvider() as fake:
        fake.always(Behaviour(text="word " * words, chunks=words, pace=_PACE, usage=(10, 5)))
        path = Path(directory) / "litellm_config.yaml"
        path.write_text(yaml.safe_dump({"model_list": [deployment(fake, "gpt")]}))
        edge = OfflineEdge(
            Path(directory),
            {"LITELLM_MASTER_KEY": MASTER_KEY, "LOCAL_DEVELOPMENT": "true", "CONTAINER_SLEEP_AFTER": "20s"},
            {PROXY_CLASS: proxy_image(path)},
            replaced={"catalog.py": catalog.source(load(path, {}))},
            log=lines.append,
        )
        edge.start()
        try:
            return _stream(edge, words)
        finally:
            edge.stop()
            print(*lines[-40:], sep="\n")


def _stream(edge: OfflineEdge, words: int) -> int:
    with httpx.Client(base_url=edge.url, headers=_AUTHORIZED, timeout=60) as client:
        made = client.post("/key/generate", json={"max_budget": 1})
        key = {"authorization": f"Bearer {made.json()['key']}"}
        began, got, last = time.monotonic(), 0, ""
        with client.stream("POST", "/v1/chat/completions", json=chat(stream=True), headers=key) as answer:
            for line in answer.iter_lines():
                got += "word" in line
                if got % 30 == 0 and "word" in line:
                    print(f"{time.monotonic() - began:.0f} s: {got} of {words} events", flush=True)
                last = line or last
        took, containers = time.monotonic() - began, len(edge.containers())
        print(f"ended after {took:.0f} s with {last!r}; {got} of {words} events, {containers} containers", flush=True)
        time.sleep(5)
        (found,) = client.get("/spend/logs").json()["data"]
        spend = client.get("/global/spend").json()
    print(f"settled: {found}\nglobal: {spend}")
    rested = time.monotonic()
    while (slept := not edge.containers("running")) is False and time.monotonic() < rested + _SLEEPS_WITHIN:
        time.sleep(1)
    print(f"asleep: {slept}, {time.monotonic() - rested:.0f} s later")
    good = last == "data: [DONE]" and got == words and found["state"] == "settled" and found["status"] == 200
    return 0 if good and slept and spend["running_requests"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
