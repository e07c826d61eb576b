"""The search for leaked secrets finds them wherever they are planted."""

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import httpx
import pytest

from tests import canaries, canaries_of_answers
from tests.container.raw import ask
from tests.processes import RunningProxy

SECRET = b"sk-planted-in-the-search-itself"


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canaries, "planted", {SECRET})


@pytest.fixture
def leaky() -> Iterator[int]:
    """The port of a server that leaks the secret in a header of `/header`, and in every body."""

    class Leaky(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(SECRET)))
            if self.path == "/header":
                self.send_header("x-told", SECRET.decode())
            self.end_headers()
            self.wfile.write(SECRET)

        def log_message(self, *_: object) -> None:
            """Silences the log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Leaky) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def found() -> int:
    """The number of leaks since the last call; clears them."""
    count = len(canaries_of_answers.found)
    canaries_of_answers.found.clear()
    return count


async def test_leaks_in_headers_are_found_for_every_client(leaky: int):
    url = f"http://127.0.0.1:{leaky}/header"
    await asyncio.to_thread(httpx.get, url)
    assert found() == 1
    async with httpx.AsyncClient() as client:
        await client.get(url)
    assert found() == 1
    async with aiohttp.ClientSession() as session, session.get(url):
        assert found() == 1
    ask(leaky, "GET", "/header")
    assert found() == 1


@pytest.mark.parametrize(("path", "count"), [("/health", 1), ("/metrics", 1), ("/v1/chat/completions", 0)])
def test_leaks_in_health_and_metrics_bodies_are_found(leaky: int, path: str, count: int):
    httpx.get(f"http://127.0.0.1:{leaky}{path}")
    assert found() == count


@pytest.mark.parametrize("where", ["proxy.log", "ledger.db-wal"])
def test_leaks_by_a_killed_proxy_are_found(tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch):
    proxy = RunningProxy({"model_list": []}, tmp_path, master_key=SECRET.decode(), wait=False)
    monkeypatch.setattr(proxy, "_process", subprocess.Popen(["sleep", "60"], start_new_session=True), raising=False)
    (tmp_path / "proxy.log").touch()
    (tmp_path / where).write_bytes(b"... " + SECRET)
    with pytest.raises(AssertionError, match=SECRET.decode()):
        proxy.kill()
