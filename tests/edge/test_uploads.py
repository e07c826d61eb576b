"""Large bodies are streamed through the Worker; only the container buffers, parses and checks them."""

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.money import wait_for

from .conftest import Edge, StartEdge
from .money import Money

MEGABYTE = 1024 * 1024
CHAT = "/v1/chat/completions"
LARGE = 32 * MEGABYTE  # the largest allowed body
UPLOADS = 20
PIECE = 64 * 1024
HEAD = b'{"model": "gpt", "messages": [{"role": "user", "content": "'
TAIL = b'"}]}'
# The memory of workerd while twenty 32 MB uploads go through it.
MOST_GROWTH = 20 * MEGABYTE


class Digesting(BaseHTTPRequestHandler):
    """A provider that answers with a digest of the prompt."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        message = {"role": "assistant", "content": self._digest()}
        answer = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "any",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }
        raw = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _digest(self) -> str:
        """The digest of the prompt, read in pieces: buffering whole uploads in every thread would take gigabytes."""
        digest, length = hashlib.sha256(), int(self.headers["content-length"])
        sizes = [PIECE] * (length // PIECE) + [length % PIECE]
        _, begins, piece = self.rfile.read(sizes.pop(0)).partition(b'"content":"')
        assert begins, "the prompt's beginning is in the first piece"
        prompt, ends, _ = piece.partition(b'"')
        digest.update(prompt)
        for size in sizes:
            piece = self.rfile.read(size)
            if not ends:
                prompt, ends, _ = piece.partition(b'"')
                digest.update(prompt)
        return digest.hexdigest()

    def log_message(self, *_: Any) -> None:
        """Silences the log."""


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Digesting) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.fixture(scope="module")
def edge(start_module_edge: StartEdge, provider: str) -> Edge:
    params = {"model": "openai/gpt", "api_base": provider, "api_key": "sk-provider"}
    info = {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.000002}
    models = [{"model_name": "gpt", "litellm_params": params, "model_info": info}]
    return start_module_edge({"model_list": models, "router_settings": {"num_retries": 0}})


@pytest.fixture
def money(edge: Edge) -> Money:
    return Money(edge)


def small_body() -> tuple[bytes, str]:
    """A chat completion of 1 MB, and the digest of its prompt."""
    content = b"x" * MEGABYTE
    return HEAD + content + TAIL, hashlib.sha256(content).hexdigest()


def large_body(filling: bytes) -> Iterator[bytes]:
    """A chat completion of `LARGE` bytes, in pieces."""
    left = LARGE - len(HEAD) - len(TAIL)
    yield HEAD
    while left:
        yield filling * min(left, PIECE)
        left -= min(left, PIECE)
    yield TAIL


def digest_of_large_body(filling: bytes) -> str:
    return hashlib.sha256(filling * (LARGE - len(HEAD) - len(TAIL))).hexdigest()


def rss(edge: Edge) -> int:
    workerd = edge.offline.workerd
    assert workerd is not None
    assert workerd.pid is not None
    return psutil.Process(workerd.pid).memory_info().rss


def test_an_upload_is_answered_and_charged(money: Money):
    key = money.key(max_budget=100)
    body, digest = small_body()
    headers = {"authorization": f"Bearer {key}"}
    answer = money.http.post(CHAT, content=body, headers=headers)
    assert answer.json()["choices"][0]["message"]["content"] == digest
    (line,) = money.settled(key)
    assert line["spend"] == 0.00002
    chunked = (body[at : at + 65536] for at in range(0, len(body), 65536))
    assert money.http.post(CHAT, content=chunked, headers=headers).status_code == 200
    money.settled(key, 2)


def test_twenty_concurrent_uploads_do_not_grow_the_worker(edge: Edge, money: Money):
    fillings = [bytes([ord("a") + number]) for number in range(UPLOADS)]
    for filling in fillings[:2]:  # the memory of one request is the baseline
        assert _upload(edge, filling).status_code == 200
    before = most = rss(edge)
    running = True

    def watch() -> None:
        nonlocal most
        while running:
            most = max(most, rss(edge))
            time.sleep(0.01)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        with ThreadPoolExecutor(UPLOADS) as pool:
            answers = list(pool.map(lambda filling: _upload(edge, filling), fillings))
    finally:
        running = False
        watching.join()
    assert [answer.status_code for answer in answers] == [200] * UPLOADS
    said = [answer.json()["choices"][0]["message"]["content"] for answer in answers]
    assert said == [digest_of_large_body(filling) for filling in fillings]
    print(f"workerd grew by {(most - before) / MEGABYTE:.1f} MB from {before / MEGABYTE:.0f} MB")
    assert most - before < MOST_GROWTH


def _upload(edge: Edge, filling: bytes) -> httpx.Response:
    headers = {**edge.client.headers, "content-length": str(LARGE)}
    return httpx.post(edge.url + CHAT, content=large_body(filling), headers=headers, timeout=120)


def test_a_body_over_the_limit_is_refused_while_it_is_read(edge: Edge):
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 200 * MEGABYTE:
            yield b" " * 65536
            sent += 65536

    with httpx.Client(headers=edge.client.headers, timeout=60) as client:
        try:
            answer = client.post(edge.url + CHAT, content=endless())
        except httpx.WriteError:
            pytest.fail("the connection was closed before the answer could be read")
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


def test_aborted_uploads_release_their_memory(edge: Edge, money: Money):
    url = urlsplit(edge.url)
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {edge.master_key}\r\nContent-Length: {LARGE}\r\n\r\n"
    ).encode()
    clients = [socket.create_connection((url.hostname, url.port)) for _ in range(8)]  # twice the memory budget
    for client in clients:
        client.sendall(head + b"{" + b" " * 100_000)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_upload, edge, b"x")
        time.sleep(1)
        assert not waiting.done(), "there is no room yet"
        for client in clients:
            client.close()
        assert waiting.result(20).json()["choices"][0]["message"]["content"] == digest_of_large_body(b"x")
    wait_for(money.spend, lambda found: found["running_requests"] == 0)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"model": "gpt"}', b'{"model": "gpt", "messages": "no"}'])
def test_an_invalid_upload_gets_the_same_error_as_a_small_body(money: Money, body: bytes):
    small = money.http.post(CHAT, content=body)
    large = money.http.post(CHAT, content=body + b" " * MEGABYTE)
    assert small.status_code == large.status_code == 400
    assert {**large.json()["error"]} == small.json()["error"]
