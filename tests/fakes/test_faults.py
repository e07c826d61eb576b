"""Every fault, as a plain HTTP client sees it."""

import gzip
import json
import socket
import struct
import time

import httpx
import pytest

from tests.fakes.behaviour import OK, Behaviour, Fault, failing, parse
from tests.fakes.server import FakeProvider, refusing_port

HEADERS = {"authorization": "Bearer sk-fake"}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello there, world"}]}
STREAM = {**CHAT, "stream": True}
BODIES = pytest.mark.parametrize("body", [CHAT, STREAM], ids=["plain", "stream"])


def post(fake: FakeProvider, body: dict, timeout: float = 5.0) -> httpx.Response:
    return httpx.post(f"{fake.openai_base}/chat/completions", json=body, headers=HEADERS, timeout=timeout)


def events(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]


def content(text: str) -> str:
    chunks = [json.loads(e) for e in events(text) if e.startswith('{"id"')]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])


def open_stream(fake: FakeProvider, body: dict) -> socket.socket:
    """A raw connection on which the request has been sent."""
    data = json.dumps(body).encode()
    connection = socket.create_connection((fake.host, fake.port), timeout=5)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\ncontent-length: {len(data)}"
    connection.sendall(head.encode() + b"\r\n\r\n" + data)
    return connection


def until_reset(connection: socket.socket) -> bytes:
    """Everything before the connection is reset."""
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionResetError:
        return received
    pytest.fail(f"closed in order after {received!r}")


@BODIES
def test_reset_before_headers(fake: FakeProvider, body):
    fake.always(Behaviour(Fault.RESET_BEFORE_HEADERS))
    with open_stream(fake, body) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    assert fake.last.disconnected_at is None


@BODIES
def test_reset_after_headers(fake: FakeProvider, body):
    fake.always(Behaviour(Fault.RESET_AFTER_HEADERS))
    with open_stream(fake, body) as connection:
        assert connection.recv(65536).endswith(b"\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


@BODIES
def test_reset_mid_stream(fake: FakeProvider, body):
    fake.always(Behaviour(Fault.RESET_MID_STREAM))
    with open_stream(fake, body) as connection:
        received = until_reset(connection)
    assert b"chat.completion" in received
    assert b'finish_reason":"stop' not in received


@BODIES
def test_hang_before_headers_and_client_disconnect(fake: FakeProvider, body):
    fake.always(Behaviour(Fault.HANG_BEFORE_HEADERS))
    connection = open_stream(fake, body)
    connection.settimeout(0.2)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    assert fake.in_flight == 1
    assert fake.last.disconnected_at is None
    connection.close()
    fake.wait_for(lambda: fake.last.disconnected_at)
    assert fake.last.finished_at is None
    assert fake.in_flight == 0


@BODIES
def test_hang_after_headers(fake: FakeProvider, body):
    fake.always(Behaviour(Fault.HANG_AFTER_HEADERS))
    with open_stream(fake, body) as connection:
        assert connection.recv(65536).endswith(b"\r\n\r\n")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_hang_mid_stream(fake: FakeProvider):
    fake.always(Behaviour(Fault.HANG_MID_STREAM, after=3))
    received = []
    url = f"{fake.openai_base}/chat/completions"
    with (
        httpx.stream("POST", url, json=STREAM, headers=HEADERS, timeout=0.3) as answer,
        pytest.raises(httpx.ReadTimeout),
    ):
        received.extend(answer.iter_text())
    assert content("".join(received)) == "Hello ther"
    fake.wait_for(lambda: fake.last.disconnected_at)
    assert fake.last.events_sent == 3


@BODIES
def test_half_a_chunk_then_close(fake: FakeProvider, body):
    fake.always(Behaviour(Fault.HALF_CHUNK))
    with pytest.raises(httpx.RemoteProtocolError):
        post(fake, body)
    assert fake.last.disconnected_at is None


def test_end_early(fake: FakeProvider):
    fake.always(Behaviour(Fault.END_EARLY))
    answer = post(fake, STREAM)
    assert content(answer.text) == "Hello t"
    assert "[DONE]" not in answer.text
    assert '"finish_reason":"stop"' not in answer.text
    with pytest.raises(json.JSONDecodeError):
        post(fake, CHAT).json()


def test_garbage_json(fake: FakeProvider):
    fake.always(Behaviour(Fault.GARBAGE_JSON))
    with pytest.raises(json.JSONDecodeError):
        post(fake, CHAT).json()
    (event,) = events(post(fake, STREAM).text)
    with pytest.raises(json.JSONDecodeError):
        json.loads(event)


@BODIES
@pytest.mark.parametrize("status", [200, 502])
def test_html_page(fake: FakeProvider, body, status):
    fake.always(Behaviour(Fault.HTML_PAGE, status=status))
    answer = post(fake, body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html"
    assert answer.text.startswith("<html>")


@BODIES
def test_gzip(fake: FakeProvider, body):
    good = post(fake, body).text
    fake.always("gzip")
    with httpx.stream("POST", f"{fake.openai_base}/chat/completions", json=body, headers=HEADERS) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        raw = b"".join(answer.iter_raw())
    text = gzip.decompress(raw).decode()
    assert len(text) == len(good)


@BODIES
def test_trickle(fake: FakeProvider, body):
    fake.always(Behaviour(trickle=0.0))
    answer = post(fake, body)
    assert content(answer.text) == "Hello there, world" if body is STREAM else answer.json()["choices"]


@BODIES
def test_content_length_too_large(fake: FakeProvider, body):
    fake.always(Behaviour(Fault.CONTENT_LENGTH_TOO_LONG))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        post(fake, body)


def test_content_length_too_small(fake: FakeProvider):
    fake.always(Behaviour(Fault.CONTENT_LENGTH_TOO_SHORT))
    with pytest.raises(json.JSONDecodeError):
        post(fake, CHAT).json()


@BODIES
def test_error_first_with_status_200(fake: FakeProvider, body):
    fake.always(Behaviour(Fault.ERROR_FIRST_EVENT))
    answer = post(fake, body)
    assert answer.status_code == 200
    error = json.loads(events(answer.text)[0]) if body is STREAM else answer.json()
    assert error["error"]["message"]


def test_error_mid_stream(fake: FakeProvider):
    fake.always(Behaviour(Fault.ERROR_MID_STREAM, after=4))
    received = events(post(fake, STREAM).text)
    assert "error" in json.loads(received[-1])
    assert len(received) == 1 + 4 + 1


def test_stream_options_are_rejected(fake: FakeProvider):
    fake.always(Behaviour(Fault.REJECT_STREAM_OPTIONS))
    answer = post(fake, {**STREAM, "stream_options": {"include_usage": True}})
    assert answer.status_code == 400
    assert "stream_options" in answer.json()["error"]["message"]
    assert post(fake, STREAM).status_code == 200


@pytest.mark.parametrize(
    ("usage_in", "asked", "with_usage", "without_choices"),
    [
        ("asked", False, [], []),
        ("asked", True, [7], [7]),
        ("never", True, [], []),
        ("always", False, [7], [7]),
        ("finish", False, [6], []),
        ("every", False, [0, 1, 2, 3, 4, 5, 6], []),
    ],
)
def test_position_of_usage(fake: FakeProvider, usage_in, asked, with_usage, without_choices):
    """Chunk 0 is the role, then five pieces, the finish reason, and possibly usage alone."""
    fake.always(Behaviour(usage_in=usage_in))
    body = {**STREAM, "stream_options": {"include_usage": True}} if asked else STREAM
    chunks = [json.loads(e) for e in events(post(fake, body).text) if e != "[DONE]"]
    assert [i for i, c in enumerate(chunks) if c.get("usage")] == with_usage
    assert [i for i, c in enumerate(chunks) if not c["choices"]] == without_choices


def test_no_done(fake: FakeProvider):
    assert events(post(fake, STREAM).text)[-1] == "[DONE]"
    fake.always("no_done")
    answer = post(fake, STREAM).text
    assert "[DONE]" not in answer
    assert content(answer) == "Hello there, world"


def test_crlf(fake: FakeProvider):
    fake.always("crlf")
    raw = post(fake, STREAM).content
    assert raw.count(b"\n") == raw.count(b"\r\n") > 10
    assert raw.endswith(b"data: [DONE]\r\n\r\n")


def test_delay_and_pace(fake: FakeProvider):
    fake.always("delay=0.2,pace=0.1,chunks=4")
    started = time.monotonic()
    arrivals = []
    with httpx.stream("POST", f"{fake.openai_base}/chat/completions", json=STREAM, headers=HEADERS) as answer:
        for line in answer.iter_lines():
            if '"content":"' in line and '"content":""' not in line:
                arrivals.append(time.monotonic() - started)
    assert len(arrivals) == 4
    assert arrivals[0] >= 0.2
    assert arrivals[-1] - arrivals[0] >= 0.29


def test_stepping(fake: FakeProvider):
    with (
        fake.stepping() as step,
        httpx.stream("POST", f"{fake.openai_base}/chat/completions", json=STREAM, headers=HEADERS) as answer,
    ):
        texts = (line for line in answer.iter_lines() if '"content":"' in line and '"content":""' not in line)
        for sent in (1, 2):
            step()
            next(texts)
            assert fake.last.events_sent in (sent - 1, sent)  # counted a moment after it is sent
        fake.wait_for(lambda: fake.last.events_sent == 2)
    fake.wait_for(lambda: fake.last.disconnected_at)
    assert fake.last.events_sent == 2


def test_refusing_port():
    with refusing_port() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)


def test_down_and_up_again(fake: FakeProvider):
    with httpx.Client(headers=HEADERS) as client:
        url = f"{fake.openai_base}/chat/completions"
        assert client.post(url, json=CHAT).status_code == 200
        with fake.down(), pytest.raises(httpx.ConnectError):
            client.post(url, json=CHAT)
        assert client.post(url, json=CHAT).status_code == 200


def test_client_reset_in_mid_stream_is_recorded(fake: FakeProvider):
    fake.always(Behaviour(pace=0.05, chunks=1000, text="x" * 1000))
    connection = open_stream(fake, STREAM)
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    left = time.monotonic()
    connection.close()
    assert fake.wait_for(lambda: fake.last.disconnected_at) >= left
    assert fake.last.events_sent < 1000


def test_behaviors_by_model_key_and_server(fake: FakeProvider):
    fake.always("500")
    fake.always("503", model="m")
    fake.always("429", api_key="sk-fake")
    fake.queue("403", OK, model="m", api_key="sk-fake")
    assert [post(fake, CHAT).status_code for _ in range(3)] == [403, 200, 503]
    assert post(fake, {**CHAT, "model": "other"}).status_code == 429
    other_key = httpx.post(
        f"{fake.openai_base}/chat/completions", json={**CHAT, "model": "x"}, headers={"api-key": "another"}
    )
    assert other_key.status_code == 500
    fake.reset()
    assert post(fake, CHAT).status_code == 200
    assert len(fake.requests) == 1


def test_keys(second_fake: FakeProvider):
    second_fake.keys = ("sk-right",)
    assert post(second_fake, CHAT).status_code == 401
    assert httpx.post(f"{second_fake.openai_base}/chat/completions", json=CHAT).status_code == 401


def test_unknown_path_and_method(fake: FakeProvider):
    assert httpx.post(f"{fake.url}/v1/nothing", json={}, headers=HEADERS).status_code == 404
    assert httpx.get(f"{fake.openai_base}/chat/completions", headers=HEADERS).status_code == 405


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("429,retry_after=7", failing(429, retry_after=7)),
        ("hang_mid_stream, after=3", Behaviour(Fault.HANG_MID_STREAM, after=3)),
        ("crlf,no_done,pace=0.5,usage_in=every", Behaviour(crlf=True, done=False, pace=0.5, usage_in="every")),
        ("", OK),
    ],
)
def test_parse(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["nonsense", "usage_in=sometimes", "after=x", "crlf=1"])
def test_parse_refuses(text):
    with pytest.raises(ValueError):
        parse(text)


def test_large_body_is_recorded(fake: FakeProvider):
    message = {"role": "user", "content": "x" * 5_000_000}
    answer = post(fake, {"model": "m", "messages": [message], "max_tokens": 1}, timeout=20)
    assert answer.status_code == 200
    assert len(fake.last.raw) > 5_000_000


def test_connections_and_concurrency(fake: FakeProvider):
    with httpx.Client(headers=HEADERS) as client:
        for _ in range(3):
            client.post(f"{fake.openai_base}/chat/completions", json=CHAT)
    assert len({seen.connection for seen in fake.requests}) == 1
    assert fake.peak_in_flight == 1


def test_control_from_another_process(fake: FakeProvider):
    assert httpx.post(f"{fake.url}/_fake/queue", json={"behaviours": ["429"]}).status_code == 204
    assert post(fake, CHAT).status_code == 429
    (seen,) = httpx.get(f"{fake.url}/_fake/requests").json()
    assert seen["body"] == CHAT
    assert httpx.post(f"{fake.url}/_fake/always", json={"behaviour": "rubbish"}).status_code == 400
