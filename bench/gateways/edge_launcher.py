"""Runs the offline edge for the bench: python -m bench.gateways.edge_launcher DIRECTORY CONFIG

Prints a line with what the bench needs once the Worker's container serves: {"url": …, "worker": pid, "proxy": pid}.
The master key is in LITELLM_MASTER_KEY.
"""

import json
import os
import signal
import sys
import time
import urllib.request
from pathlib import Path

from container.config.load import load
from container.proxy import catalog
from dev.edge import PROXY_CLASS, OfflineEdge, proxy_image

READY = "ready: "
_CONTAINER_SECONDS = 60.0


def main(directory: Path, config: Path) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    master_key = os.environ["LITELLM_MASTER_KEY"]
    edge = OfflineEdge(
        directory,
        {"LITELLM_MASTER_KEY": master_key},
        {PROXY_CLASS: proxy_image(config)},
        replaced={"catalog.py": catalog.source(load(config, {}))},
        log=lambda line: print(line, flush=True),
    )
    try:
        edge.start()
        _wake(f"{edge.url}/v1/chat/completions", master_key)
        (container,) = edge.containers("running")
        assert edge.workerd is not None
        found = {"url": edge.url, "worker": edge.workerd.pid, "proxy": container.pid}
        print(READY + json.dumps(found), flush=True)
        edge.workerd.wait()
    except KeyboardInterrupt:
        pass  # SIGTERM: the bench is done with us
    finally:
        edge.stop()


def _wake(url: str, master_key: str) -> None:
    """The first request starts the container."""
    body = b'{"model": "bench", "messages": [{"role": "user", "content": "hello"}]}'
    headers = {"Authorization": f"Bearer {master_key}", "Content-Type": "application/json"}
    deadline = time.monotonic() + _CONTAINER_SECONDS
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=_CONTAINER_SECONDS):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
