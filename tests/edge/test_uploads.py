"""Large bodies: they pass through the Worker as streams, and are read, checked and kept by the container alone."""

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

from .conftest import Edge, StartEdge
from .money import Money, wait_for

MEGABYTE = 1024 * 1024
CHAT = "/v1/chat/completions"
LIMIT_MB = 32
UPLOADS = 20
# Of workerd, while twenty uploads of 32 MB go through it.
MOST_GROWTH = 20 * MEGABYTE


class Digesting(BaseHTTPRequestHandler):
    """A provider that answers with the digest of what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = hashlib.sha256(body["messages"][0]["content"].encode()).hexdigest()
        message = {"role": "assistant", "content": said}
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

    def log_message(self, *_: Any) -> None:
        """Nothing: a test's output is for its failures."""


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


def body_of(size: int, filling: str = "x") -> tuple[bytes, str]:
    """A chat completion of exactly `size` bytes, and the digest of its prompt."""
    empty = json.dumps({"model": "gpt", "messages": [{"role": "user", "content": ""}]}).encode()
    content = filling * (size - len(empty))
    return empty.replace(b'""', b'"' + content.encode() + b'"'), hashlib.sha256(content.encode()).hexdigest()


def rss(edge: Edge) -> int:
    workerd = edge.offline.workerd
    assert workerd is not None
    assert workerd.pid is not None
    return psutil.Process(workerd.pid).memory_info().rss


def test_an_upload_is_answered_and_charged(money: Money):
    key = money.key(max_budget=100)
    body, digest = body_of(MEGABYTE)
    headers = {"authorization": f"Bearer {key}"}
    answer = money.http.post(CHAT, content=body, headers=headers)
    assert answer.json()["choices"][0]["message"]["content"] == digest
    (line,) = money.settled(key)
    assert line["spend"] == 0.00002
    chunked = (body[at : at + 65536] for at in range(0, len(body), 65536))
    assert money.http.post(CHAT, content=chunked, headers=headers).status_code == 200
    money.settled(key, 2)


def test_twenty_uploads_at_once_leave_the_worker_as_small_as_it_was(edge: Edge, money: Money):
    bodies = [body_of(LIMIT_MB * MEGABYTE, chr(ord("a") + number)) for number in range(UPLOADS)]
    for body, _ in bodies[:2]:  # what one request needs is not what twenty may not
        assert money.http.post(CHAT, content=body).status_code == 200
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
            answers = list(pool.map(lambda one: _upload(edge, one[0]), bodies))
    finally:
        running = False
        watching.join()
    assert [answer.status_code for answer in answers] == [200] * UPLOADS
    said = [answer.json()["choices"][0]["message"]["content"] for answer in answers]
    assert said == [digest for _, digest in bodies]
    print(f"workerd grew by {(most - before) / MEGABYTE:.1f} MB from {before / MEGABYTE:.0f} MB")
    assert most - before < MOST_GROWTH


def _upload(edge: Edge, body: bytes) -> httpx.Response:
    return httpx.post(edge.url + CHAT, content=body, headers=edge.client.headers, timeout=120)


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


def test_uploads_of_clients_that_leave_make_room(edge: Edge, money: Money):
    url = urlsplit(edge.url)
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {edge.master_key}\r\n"
        f"Content-Length: {LIMIT_MB * MEGABYTE}\r\n\r\n"
    ).encode()
    clients = [socket.create_connection((url.hostname, url.port)) for _ in range(8)]  # twice what there is room for
    for client in clients:
        client.sendall(head + b"{" + b" " * 100_000)
    body, digest = body_of(LIMIT_MB * MEGABYTE)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_upload, edge, body)
        time.sleep(1)
        assert not waiting.done(), "there is no room yet"
        for client in clients:
            client.close()
        assert waiting.result(20).json()["choices"][0]["message"]["content"] == digest
    wait_for(money.spend, lambda found: found["running_requests"] == 0)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"model": "gpt"}', b'{"model": "gpt", "messages": "no"}'])
def test_a_bad_upload_is_refused_as_a_small_one_is(money: Money, body: bytes):
    small = money.http.post(CHAT, content=body)
    large = money.http.post(CHAT, content=body + b" " * MEGABYTE)
    assert small.status_code == large.status_code == 400
    assert {**large.json()["error"]} == small.json()["error"]
