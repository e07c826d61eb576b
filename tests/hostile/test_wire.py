"""Malicious HTTP on the wire: request smuggling, floods, and tricks with paths and headers.

A smuggled request must never run. The provider would have seen its marker.
"""

import time

import pytest

from tests.container.raw import Connection
from tests.hostile.conftest import AUTHORIZED, CHAT, PLAIN, Door

WORD = b"SMUGGLED"
KEY = f"Authorization: {AUTHORIZED['authorization']}\r\n".encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + KEY


def hidden() -> bytes:
    """A whole request with a valid key, which must not run."""
    body = PLAIN.replace(b"Hello there", WORD)
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def spoken(connection: Connection, data: bytes, patience: float = 0.4) -> list[int]:
    """The statuses of all responses until the other side closes or goes silent."""
    connection._socket.settimeout(patience)
    got = b""
    try:
        connection.send(data)
        while piece := connection._socket.recv(65536):
            got += piece
    except (TimeoutError, ConnectionError):
        pass
    return [int(part[:3]) for part in got.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()]


def lengths(*lines: bytes) -> bytes:
    return HEAD + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(PLAIN), PLAIN)
SIZE = b"Content-Length: %d" % len(PLAIN)
# The rest is one request's body by one interpretation, and hides another request by the other.
AMBIGUOUS = {
    "a length and chunks": lengths(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + hidden(),
    "chunks and a length": lengths(b"Transfer-Encoding: chunked", b"Content-Length: 5") + b"0\r\n\r\n" + hidden(),
    "two lengths": lengths(b"Content-Length: 0", SIZE) + PLAIN + hidden(),
    "two lengths in one line": lengths(b"Content-Length: 0, %d" % len(PLAIN)) + PLAIN + hidden(),
    "a length with a plus": lengths(b"Content-Length: +0") + hidden(),
    "a negative length": lengths(b"Content-Length: -1") + hidden(),
    "a hexadecimal length": lengths(b"Content-Length: 0x0") + hidden(),
    "a length with an underscore": lengths(b"Content-Length: 0_0") + hidden(),
    "a length with a blank inside": lengths(b"Content-Length: 0 0") + hidden(),
    "a length of no digits": lengths(b"Content-Length: \xb2") + hidden(),
    "a length over every number": lengths(b"Content-Length: 99999999999999999999999") + hidden(),
    "an empty length": lengths(b"Content-Length:") + hidden(),
    "a coding before chunked": lengths(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n" + hidden(),
    "chunked twice": lengths(b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n" + hidden(),
    "chunked in two lines": lengths(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity")
    + b"0\r\n\r\n"
    + hidden(),
    "an unknown coding": lengths(b"Transfer-Encoding: xchunked", SIZE) + PLAIN + hidden(),
    "a coding with a blank before the colon": lengths(b"Transfer-Encoding : chunked", SIZE) + PLAIN + hidden(),
    "a coding with a tab": lengths(b"Transfer-Encoding:\tchunked", b"Content-Length: 5") + b"0\r\n\r\n" + hidden(),
    "a coding with a vertical tab": lengths(b"Transfer-Encoding: \x0bchunked", SIZE) + PLAIN + hidden(),
    "a coding in a folded line": lengths(b"Transfer-Encoding:\r\n chunked", SIZE) + PLAIN + hidden(),
    "a folded header": lengths(b"X-A: b\r\n Content-Length: 0", SIZE) + PLAIN + hidden(),
    "a header that begins with a blank": lengths(b" Transfer-Encoding: chunked", SIZE) + PLAIN + hidden(),
    "a coding after a bare line feed": lengths(b"X-A: b\nTransfer-Encoding: chunked", SIZE) + PLAIN + hidden(),
    "a coding after a bare carriage return": lengths(b"X-A: b\rTransfer-Encoding: chunked", SIZE) + PLAIN + hidden(),
    "a coding after a NUL": lengths(b"X-A: b\x00\r\nTransfer-Encoding: chunked", SIZE) + PLAIN + hidden(),
    "a quoted coding": lengths(b'Transfer-Encoding: "chunked"', SIZE) + PLAIN + hidden(),
    "a name with an underscore": lengths(b"Transfer_Encoding: chunked", b"Content_Length: 0", SIZE) + PLAIN,
    "a chunk with a negative size": lengths(b"Transfer-Encoding: chunked") + b"-1\r\n" + hidden(),
    "a chunk with a plus": lengths(b"Transfer-Encoding: chunked") + b"+0\r\n\r\n" + hidden(),
    "a chunk with 0x": lengths(b"Transfer-Encoding: chunked") + b"0x0\r\n\r\n" + hidden(),
    "a chunk of no size": lengths(b"Transfer-Encoding: chunked") + b"\r\n\r\n" + hidden(),
    "a chunk over every number": lengths(b"Transfer-Encoding: chunked") + b"f" * 40 + b"\r\n" + hidden(),
    "a chunk that is longer than it says": lengths(b"Transfer-Encoding: chunked")
    + b"2\r\n%s\r\n0\r\n\r\n" % PLAIN
    + hidden(),
    "a chunk extension with a line break": lengths(b"Transfer-Encoding: chunked") + b"0;a=\n\r\n\r\n" + hidden(),
    "a chunk extension that does not end": lengths(b"Transfer-Encoding: chunked") + b"0;" + b"a" * 100_000,
    "a body to GET": b"GET /v1/models HTTP/1.1\r\nHost: x\r\n"
    + KEY
    + b"Content-Length: %d\r\n\r\n" % len(hidden())
    + hidden(),
    "a request in the old protocol": b"POST /v1/chat/completions HTTP/1.0\r\n"
    + KEY
    + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    + hidden(),
    "an upgrade": lengths(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", SIZE) + PLAIN,
    "headers named for one hop": lengths(b"Connection: close, Content-Length, Authorization", SIZE) + PLAIN + hidden(),
}


# workerd accepts a list of codings that ends in `chunked`: the body is empty, and the rest is a request.
CHUNKED_TO_WORKERD = ("a coding before chunked", "chunked twice")


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_hidden_request_never_runs(door: Door, name: str):
    with door.connect() as connection:
        statuses = spoken(connection, AMBIGUOUS[name])
    assert all(status < 500 or status == 501 for status in statuses), statuses
    door.still_serves()
    if door.name == "standalone" or name not in CHUNKED_TO_WORKERD:
        assert not any(WORD in seen.raw for seen in door.provider.requests), statuses


NO_HTTP = {
    "noise": bytes(range(256)) * 16,
    "line breaks": b"\r\n" * 1000,
    "HTTP/0.9": b"GET /v1/models\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a method of a kilobyte": b"G" * 1024 + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method with a line break": b"GE\nT / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\nHost: x\r\n: x\r\n\r\n",
    "a header with NUL": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "a path of a megabyte": b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header of a megabyte": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n",
    "10 000 headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n",
    "a megabyte of headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + (b"X-A: " + b"b" * 1000 + b"\r\n") * 1000 + b"\r\n",
    "a header that does not end": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (4 << 20),
}


@pytest.mark.parametrize("name", NO_HTTP)
def test_invalid_http_is_rejected_or_cut_off(door: Door, name: str):
    with door.connect() as connection:
        statuses = spoken(connection, NO_HTTP[name])
    assert all(status < 500 or status in (501, 505) for status in statuses), statuses
    if door.name == "standalone" and ("mega" in name or "10 000" in name):
        assert not any(status == 200 for status in statuses)
    door.still_serves()


PATHS = (
    "//v1/models",
    "/v1//models",
    "/v1/models//",
    "/v1/models/../../key/list",
    "/v1/./models/..%2f..%2fkey/list",
    "/v1/%2e%2e/key/list",
    "/v1/..;/key/list",
    "/v1/chat%2fcompletions",
    "/v1/chat/completions%00",
    "/v1/chat/completions%00.json",
    "/v1/chat/completions/",
    "/v1/chat\\completions",
    "/V1/CHAT/COMPLETIONS",
    "/v1/chat/completions;a=b",
    "/v1/%63hat/completions",
    "/v1/chat/completions%20",
    "/v1/v1/chat/completions",
    "/v1/internal/journal",
    "/internal/park/v1/chat/completions",
    "/internal/go/x",
    "/model/new",
    "/v1/model/info",
    "/config/update",
    "/user/new",
    "/openai/deployments/gpt/chat/completions",
    "/.env",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/" + "a/" * 5000,
    "/\u2025/models",
    "/v1/chat/completions?api_base=http://192.0.2.1#/key/list",
    "*",
    "http://192.0.2.1/v1/models",
)


@pytest.mark.parametrize("path", PATHS, ids=[path[:50] for path in PATHS])
def test_path_is_interpreted_literally_or_not_found(door: Door, path: str):
    body = PLAIN.replace(b"Hello there", WORD)
    with door.connect() as connection:
        request = b"POST " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        statuses = spoken(connection, request)
    assert statuses in ([], [400], [401], [404], [405], [414]), statuses
    assert not any(WORD in seen.raw for seen in door.provider.requests)


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"])
def test_method_is_taken_from_the_first_line(door: Door, name: str):
    assert door.ask("GET", CHAT, **{name: "POST"}).status == 405
    assert door.ask("POST", f"{CHAT}?_method=GET", PLAIN, **{name: "DELETE"}).status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "post"])
def test_unsupported_method_is_405(door: Door, method: str):
    with door.connect() as connection:
        statuses = spoken(connection, method.encode() + b" /v1/models HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n")
    assert statuses in ([405], [400], [501], []), statuses


def test_websocket_for_responses_is_told_to_use_http(door: Door):
    """OpenAI's Codex tries a WebSocket first, and retries for seconds after any other status."""
    websocket = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    answer = door.ask("GET", "/v1/responses", **websocket, **{"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="})
    assert answer.status == 426
    if door.name == "standalone":  # workerd removes the header
        assert answer.headers["upgrade"] == "HTTP/1.1"
    assert answer.json["error"]["code"] == "websocket_not_supported"
    assert door.ask("GET", "/v1/responses").status == 405
    door.still_serves()


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_proxy_methods_neither_echo_nor_open_a_tunnel(door: Door, method: str):
    with door.connect() as connection:
        request = method.encode() + b" /v1/models HTTP/1.1\r\nHost: x\r\nX-Word: " + WORD + b"\r\n" + KEY + b"\r\n"
        connection._socket.settimeout(1)
        connection.send(request)
        try:
            answer = connection._socket.recv(65536)
        except (TimeoutError, ConnectionError):
            answer = b""
    assert WORD not in answer
    assert b" 200 " not in answer.partition(b"\r\n")[0]


def test_client_cannot_split_a_response(door: Door):
    encoded = "%0d%0aX-Evil:%201"
    body = PLAIN.replace(b'"gpt"', b'"free/a\\r\\nX-Evil: 1"')
    answers = [
        door.ask("POST", CHAT, body),
        door.ask("GET", f"/v1/models/gpt{encoded}"),
        door.ask("GET", f"/{encoded}"),
        door.ask("POST", CHAT, PLAIN, x_request_id=f"abcdefgh{encoded}"),
        door.ask("OPTIONS", "/v1/models", origin=f"https://a{encoded}", access_control_request_method=f"GET{encoded}"),
    ]
    for answer in answers:
        assert "x-evil" not in answer.headers
        assert b"\r\nX-Evil" not in answer.body
    assert not any("x-evil" in {name.lower() for name in seen.headers} for seen in door.provider.requests)


def test_trailer_grants_no_authority(door: Door):
    with door.connect() as connection:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        head += b"Trailer: Authorization\r\n\r\n"
        statuses = spoken(connection, head + CHUNKED[:-2] + KEY + b"\r\n")
    assert statuses[:1] == [401]
    assert door.provider.requests == []


def test_pipelined_requests_are_answered_in_order(door: Door):
    with door.connect() as connection:
        requests = [
            f"GET /v1/models/{'gpt' if number % 2 else 'nonesuch'} HTTP/1.1\r\nHost: x\r\n".encode() + KEY + b"\r\n"
            for number in range(20)
        ]
        connection.send(b"".join(requests))
        statuses = [connection.answer("GET").status for _ in requests]
    assert statuses == [200 if number % 2 else 404 for number in range(20)]


def test_pipelined_flood_is_answered_gradually(standalone: Door):
    """5000 requests at once on one connection, from a client that reads slowly."""
    with standalone.connect(timeout=60) as connection:
        count = 5000
        connection._socket.setblocking(False)
        flood = (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n") * count
        sent = 0
        got = b""
        deadline = time.monotonic() + 60
        while got.count(b"HTTP/1.1 200") < count:
            assert time.monotonic() < deadline
            try:
                sent += connection._socket.send(flood[sent : sent + 65536])
            except BlockingIOError:
                pass
            try:
                got += connection._socket.recv(65536)
            except BlockingIOError:
                time.sleep(0.001)
    standalone.still_serves()


def test_expectations(door: Door):
    assert door.ask("POST", CHAT, PLAIN, expect="100-continue").status == 200
    assert door.ask("POST", CHAT, PLAIN, expect="wonders").status in (200, 417)
