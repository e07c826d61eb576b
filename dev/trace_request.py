"""`python -m dev.trace_request`: the files that one plain chat request walks through, in order, alone and at the edge.

The request has a key with a budget and a rate limit, and goes to a provider that is called directly. Earlier requests
warm up caches, so one-time work is not counted. Every call into a file of `container/` or `worker/` counts, including
work after the response.
"""

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

from container.cli.main import main as cli
from container.config.load import load
from container.proxy import catalog
from dev.edge import PROXY_CLASS, WRANGLER_CONFIG, OfflineEdge
from dev.offline import wrangler
from dev.offline.tools import REPOSITORY
from dev.process_engine.containers import Image

MASTER_KEY = "sk-of-the-trace"
KEY = {"max_budget": 1.0, "rpm_limit": 1000, "tpm_limit": 1_000_000}
REQUEST = {"model": "traced", "messages": [{"role": "user", "content": "hello"}]}
WARM_UP = 3
# Time for the work after the response: settlement, and at the edge fetching usage.
SETTLE_SECONDS = 1.0
START_SECONDS = 60.0
_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "traced",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10},
}
# Replaces the Worker's main module, which is renamed to `traced_main`.
_MAIN = """
import json, sys

walk, on = [], [False]

def called(code, _):
    if on[0] and (not walk or walk[-1] != code.co_filename):
        walk.append(code.co_filename)

tool, events = sys.monitoring.PROFILER_ID, sys.monitoring.events
sys.monitoring.use_tool_id(tool, "trace_request")
sys.monitoring.register_callback(tool, events.PY_START, called)
sys.monitoring.register_callback(tool, events.PY_RESUME, called)
sys.monitoring.set_events(tool, events.PY_START | events.PY_RESUME)

import traced_main
from traced_main import *
from workers import Response

answer = traced_main.handle

async def handle(request):
    if request.url.endswith("/__walk"):
        on[0] = not on[0]
        found = json.dumps([] if on[0] else walk)
        return Response(found).js_object
    return await answer(request)

traced_main.handle = handle
"""


class Walk:
    """Records the files that are called between SIGUSR1 and SIGUSR2, which writes the list."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: list[str] = []
        self._on = False
        signal.signal(signal.SIGUSR1, self._start)
        signal.signal(signal.SIGUSR2, self._stop)
        threading.setprofile(self._called)
        sys.setprofile(self._called)

    def _called(self, frame: FrameType, event: str, _: Any) -> None:
        if self._on and event == "call":
            name = frame.f_code.co_filename
            if name.startswith(_OURS) and (not self._files or self._files[-1] != name):
                self._files.append(name)

    def _start(self, *_: Any) -> None:
        self._files.clear()
        self._on = True

    def _stop(self, *_: Any) -> None:
        self._on = False
        unfinished = self._path.with_suffix(".part")
        unfinished.write_text(json.dumps([Path(name).relative_to(REPOSITORY).as_posix() for name in self._files]))
        unfinished.rename(self._path)


_OURS = (str(REPOSITORY / "container") + os.sep, str(REPOSITORY / "worker") + os.sep)


class _Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps(_ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


@contextmanager
def provider() -> Iterator[int]:
    """Its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()


def write_config(folder: Path, port: int) -> Path:
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
    params = {"model": "openai/traced", "api_key": "sk-x", "api_base": f"http://127.0.0.1:{port}/v1"}
    path = folder / "litellm_config.yaml"
    path.write_text(
        json.dumps({"model_list": [{"model_name": "traced", "litellm_params": params, "model_info": prices}]})
    )
    return path


def ask(port: int, path: str, body: Any = None, key: str = MASTER_KEY) -> Any:
    """The JSON of the answer. Raises RuntimeError for another status than 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        raw = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path} was answered {answer.status}: {raw[:500].decode()}")
    return json.loads(raw)


def walked(port: int, start: Callable[[], Any], stop: Callable[[], list[str]]) -> list[str]:
    """The files that one request walks through, after warm-up requests."""
    key = ask(port, "/key/generate", KEY)["key"]
    for _ in range(WARM_UP):
        ask(port, "/v1/chat/completions", REQUEST, key)
    time.sleep(SETTLE_SECONDS)
    start()
    ask(port, "/v1/chat/completions", REQUEST, key)
    time.sleep(SETTLE_SECONDS)
    return stop()


def _signalled(pid: Callable[[], int], path: Path) -> tuple[Callable[[], None], Callable[[], list[str]]]:
    def start() -> None:
        os.kill(pid(), signal.SIGUSR1)

    def stop() -> list[str]:
        os.kill(pid(), signal.SIGUSR2)
        _wait(path.exists)
        return json.loads(path.read_text())

    return start, stop


def _wait(until: Callable[[], Any]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not until():
        if time.monotonic() > deadline:
            raise RuntimeError(f"Nothing happened within {START_SECONDS:.0f} s.")
        time.sleep(0.05)


def alone(folder: Path, config: Path) -> list[str]:
    """The files, in the order of the calls into them."""
    walk, port = folder / "alone.json", _free_port()
    command = [sys.executable, "-m", "dev.trace_request", "--serve", str(walk), str(config), "127.0.0.1", str(port)]
    environment = {**os.environ, "LITELLM_MASTER_KEY": MASTER_KEY, "LEDGER_PATH": str(folder / "ledger.db")}
    with (folder / "alone.log").open("w") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=log)
        try:
            _wait(lambda: process.poll() is not None or _answers(port))
            if process.poll() is not None:
                raise RuntimeError((folder / "alone.log").read_text())
            return walked(port, *_signalled(lambda: process.pid, walk))
        finally:
            process.terminate()
            process.wait()


def at_the_edge(folder: Path, config: Path) -> tuple[list[str], list[str]]:
    """The files of the Worker and its objects, and those of the container."""
    walk = folder / "container.json"
    command = (sys.executable, "-m", "dev.trace_request", "--serve", str(walk), str(config), "127.0.0.1", "{port}")
    main = wrangler.read(WRANGLER_CONFIG).main
    replaced = {
        main.name: _MAIN,
        "traced_main.py": main.read_text(encoding="utf-8"),
        "catalog.py": catalog.source(load(config, {})),
    }
    lines: list[str] = []
    edge = OfflineEdge(
        folder / "edge",
        {"LITELLM_MASTER_KEY": MASTER_KEY},
        {PROXY_CLASS: Image(command)},
        replaced=replaced,
        log=lines.append,
    )
    try:
        if edge.start() != 200:
            raise RuntimeError("The Worker does not start:\n" + "\n".join(lines[-20:]))
        assert edge.workerd is not None
        port = int(edge.url.rpartition(":")[2])
        start, stop = _signalled(lambda: edge.containers("running")[0].pid or 0, walk)

        def start_both() -> None:
            ask(port, "/__walk")
            start()

        of_container: list[str] = []

        def stop_both() -> list[str]:
            of_container.extend(stop())
            return ask(port, "/__walk")

        found = walked(port, start_both, stop_both)
    finally:
        edge.stop()
    root = _common(found)
    ours = [name.removeprefix(root) for name in found if name.startswith(root) and "python_modules" not in name]
    names = [f"worker/{name.replace('traced_main', main.stem)}" for name in ours if name != main.name]
    return _without_repeats(names), of_container


def _common(names: list[str]) -> str:
    """The folder of the Worker's modules, in Pyodide."""
    return next(name for name in names if name.endswith("/traced_main.py")).removesuffix("traced_main.py")


def _without_repeats(names: list[str]) -> list[str]:
    return [name for at, name in enumerate(names) if not at or names[at - 1] != name]


def _answers(port: int) -> bool:
    try:
        ask(port, "/health/liveliness")
    except OSError:
        return False
    return True


def _free_port() -> int:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Provider)
    server.server_close()
    return server.server_port


def _print(title: str, *walks: tuple[str, list[str]]) -> None:
    files = {name for _, walk in walks for name in walk}
    print(f"{title}: {len(files)} files, {sum(map(len, (walk for _, walk in walks)))} moves between files")
    for where, walk in walks:
        if where:
            print(f"  {where}: {len(set(walk))} files, {len(walk)} moves")
        for number, name in enumerate(dict.fromkeys(walk), 1):
            print(f"  {number:>4}  {name}  ({walk.count(name)})")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m dev.trace_request", description="The files that one plain chat request walks through."
    )
    parser.add_argument("--alone", action="store_true", help="the proxy alone, without the edge")
    parser.add_argument("--serve", nargs=4, metavar=("FILE", "CONFIG", "HOST", "PORT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        path, config, host, port = given.serve
        Walk(Path(path))
        return cli(["serve", "--config", config, "--host", host, "--port", port])
    with tempfile.TemporaryDirectory(prefix="trace-") as scratch, provider() as port:
        folder = Path(scratch)
        config = write_config(folder, port)
        _print("Alone", ("", alone(folder, config)))
        if not given.alone:
            worker, container = at_the_edge(folder, config)
            _print("At the edge", ("the Worker and its object", worker), ("the container", container))
    return 0


if __name__ == "__main__":
    sys.exit(main())
