"""Malicious bodies get an appropriate error status and break nothing."""

import functools
import gzip
import zlib

import pytest

from tests.hostile.conftest import AUTHORIZED, CHAT, PLAIN, Door

MB = 1024 * 1024
HEAD = b'{"model": "gpt", "messages": [{"role": "user", "content": "Hi"}], '


def with_field(text: bytes) -> bytes:
    return HEAD + text + b"}"


def with_content(text: bytes) -> bytes:
    return b'{"model": "gpt", "messages": [{"role": "user", "content": "' + text + b'"}]}'


NOT_JSON = {
    "nothing": b"",
    "white space": b" \r\n\t ",
    "a text": b"hello",
    "half an object": PLAIN[:-1],
    "an object and more": PLAIN + b"}",
    "two objects": PLAIN + PLAIN,
    "a comment": PLAIN + b"// really",
    "single quotes": PLAIN.replace(b'"', b"'"),
    "trailing comma": with_field(b'"n": 1,'),
    "a form": b"model=gpt&messages=Hi",
    "XML": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
    "NaN": with_field(b'"temperature": NaN'),
    "Infinity": with_field(b'"temperature": Infinity'),
    "minus Infinity": with_field(b'"temperature": -Infinity'),
    "a number over every float": with_field(b'"temperature": 1e999'),
    "a number of 100 000 digits": with_field(b'"max_tokens": 1' + b"0" * 100_000),
    "a hexadecimal number": with_field(b'"n": 0x10'),
    "a number with a leading zero": with_field(b'"n": 01'),
    "a lone high surrogate": with_content(rb"\ud800"),
    "a lone low surrogate": with_content(rb"\udc00 and more"),
    "surrogates the wrong way round": with_content(rb"\ude00\ud83d"),
    "invalid UTF-8": with_content(b"\xff\xfe"),
    "overlong UTF-8": with_content(b"\xc0\xaf"),
    "a surrogate in UTF-8": with_content(b"\xed\xa0\x80"),
    "UTF-8 that breaks off": with_content(b"\xe2\x82"),
    "Latin-1": with_content("Grüße".encode("latin-1")),
    "UTF-16": PLAIN.decode().encode("utf-16"),
    "UTF-32": PLAIN.decode().encode("utf-32"),
    "a raw NUL": with_content(b"\x00"),
    "a raw line break in a text": with_content(b"\n"),
    "100 000 arrays": with_field(b'"x": ' + b"[" * 100_000 + b"]" * 100_000),
    "100 000 objects": with_field(b'"x": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "100 000 brackets that never close": b"[" * 100_000,
    "gzip that is not said to be": gzip.compress(PLAIN),
}
NO_REQUEST = {
    "an array": b"[]",
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "an empty object": b"{}",
    "a model that is a number": PLAIN.replace(b'"gpt"', b"1"),
    "a model that is an array": PLAIN.replace(b'"gpt"', b'["gpt"]'),
    "an empty model": PLAIN.replace(b'"gpt"', b'""'),
    "messages that are a text": b'{"model": "gpt", "messages": "Hi"}',
    "messages that are numbers": b'{"model": "gpt", "messages": [1, 2]}',
    "a message without a role": b'{"model": "gpt", "messages": [{"content": "Hi"}]}',
    "a content that is a number": b'{"model": "gpt", "messages": [{"role": "user", "content": 5}]}',
    "no messages": b'{"model": "gpt", "messages": []}',
    "an output limit of 10^30": with_field(b'"max_tokens": 1000000000000000000000000000000'),
    "an output limit that is a boolean": with_field(b'"max_tokens": true'),
    "a stream that is a text": with_field(b'"stream": "yes"'),
    "__proto__": with_field(b'"__proto__": {"api_base": "http://192.0.2.1"}'),
    "a time limit of a year": with_field(b'"timeout": 31536000'),
    "a million retries": with_field(b'"num_retries": 1000000'),
}
POSTED = (
    "/v1/completions",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/responses",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/rerank",
    "/v1/moderations",
)


@pytest.mark.parametrize("name", NOT_JSON)
def test_invalid_json_is_400(door: Door, name: str):
    answer = door.ask("POST", CHAT, NOT_JSON[name])
    assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error"), answer
    assert len(answer.body) < 2000
    assert door.provider.requests == []


@pytest.mark.parametrize("name", NO_REQUEST)
def test_invalid_request_is_400_and_names_the_field(door: Door, name: str):
    answer = door.ask("POST", CHAT, NO_REQUEST[name])
    assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error"), answer
    assert door.provider.requests == []


@pytest.mark.parametrize("path", POSTED)
def test_every_other_endpoint_rejects_invalid_json(door: Door, path: str):
    for name in ("nothing", "a text", "NaN", "a lone high surrogate", "invalid UTF-8", "100 000 arrays", "UTF-16"):
        answer = door.ask("POST", path, NOT_JSON[name])
        assert answer.status == 400, (name, answer)
    assert door.provider.requests == []
    door.still_serves()


def test_only_one_of_two_models_is_authorized_and_sent(door: Door):
    twice = PLAIN.replace(b'"model": "gpt"', b'"model": "nonesuch", "model": "gpt"')
    assert door.ask("POST", CHAT, twice).status == 200
    assert door.provider.last.raw.count(b'"model"') == 1
    assert door.provider.last.body["model"] == "gpt-4o"


def test_name_of_a_megabyte_is_not_echoed(door: Door):
    answer = door.ask("POST", CHAT, PLAIN.replace(b'"gpt"', b'"' + b"x" * MB + b'"'))
    assert answer.status == 400
    assert len(answer.body) < 2000


def test_nesting_as_deep_as_real_tools_is_accepted(door: Door):
    assert door.ask("POST", CHAT, with_field(b'"x": ' + b"[" * 60 + b"]" * 60)).status == 200


def test_many_brackets_are_not_deep_nesting(door: Door):
    value = b"[" + b"[]," * 2000 + b"[]]"
    assert door.ask("POST", "/key/generate", b'{"metadata": {"a": ' + value + b"}}").status == 200
    assert door.ask("POST", CHAT, with_field(b'"x": ' + value)).status == 200


@pytest.mark.parametrize("levels", [250, 999, 1000, 2500, 20_000])
def test_no_depth_crashes_a_parser(door: Door, levels: int):
    deep = b"[" * (levels - 1) + b"]" * (levels - 1)
    assert door.ask("POST", CHAT, with_field(b'"x": ' + deep)).status in (200, 400)
    answer = door.ask("POST", "/key/generate", b'{"metadata": ' + deep + b"}")
    assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error"), answer
    door.still_serves()


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "nonsense", ""])
def test_json_content_type_does_not_matter(door: Door, kind: str):
    assert door.ask("POST", CHAT, PLAIN, content_type=kind).status == 200
    assert door.provider.last.headers["content-type"] == "application/json"


def test_form_instead_of_json_is_400(door: Door):
    form = b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\ngpt\r\n--x--\r\n'
    assert door.ask("POST", CHAT, form, content_type="multipart/form-data; boundary=x").status == 400


@pytest.mark.parametrize(
    "form",
    [
        b"--x\r\n",
        b"--x--\r\n",
        b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\ngpt',
        b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\ngpt\r\n' * 1000 + b"--x--\r\n",
        b"--x\r\n" + b"a: b\r\n" * 10_000 + b"\r\n\r\n--x--\r\n",
        b'--x\r\ncontent-disposition: form-data; name="a\\"; filename=\\"b"\r\n\r\n1\r\n--x--\r\n',
        b'--x\r\ncontent-disposition: form-data; name="api_base"\r\n\r\nhttp://192.0.2.1\r\n--x--\r\n',
        b"\x00" * 1000,
    ],
    ids=["unended", "empty", "no end", "1000 models", "10 000 headers", "quotes in a name", "an address", "zeros"],
)
def test_malformed_form_is_400(door: Door, form: bytes):
    answer = door.ask("POST", "/v1/audio/transcriptions", form, content_type="multipart/form-data; boundary=x")
    assert answer.status == 400, answer
    door.still_serves()


@functools.cache
def bomb(wbits: int) -> bytes:
    """300 MB in 300 KB, which takes a second."""
    packed = zlib.compressobj(9, wbits=wbits)
    return b"".join(packed.compress(b" " * MB) for _ in range(300)) + packed.flush()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "GZIP", "identity, gzip", "x"])
def test_compressed_bomb_is_not_decompressed(door: Door, encoding: str):
    answer = door.ask("POST", CHAT, bomb(31 if "gzip" in encoding.lower() else 15), content_encoding=encoding)
    assert answer.status == 415, answer
    assert answer.json["error"]["code"] == "unsupported_encoding"


def test_body_of_33_mb_is_413(door: Door):
    with door.connect() as connection:
        head = [f"POST {CHAT} HTTP/1.1", "host: x", f"authorization: {AUTHORIZED['authorization']}"]
        connection.send("\r\n".join([*head, f"content-length: {33 * MB}", "", ""]).encode() + b" " * MB)
        answer = connection.answer()
    assert (answer.status, answer.json["error"]["code"]) == (413, "body_too_large")
    door.still_serves()


def test_chunked_body_of_33_mb_is_413(door: Door):
    with door.connect() as connection:
        head = [f"POST {CHAT} HTTP/1.1", "host: x", f"authorization: {AUTHORIZED['authorization']}"]
        connection.send("\r\n".join([*head, "transfer-encoding: chunked", "", ""]).encode())
        piece = b"100000\r\n" + b" " * MB + b"\r\n"
        try:
            for _ in range(33):
                connection.send(piece)
            connection.send(b"0\r\n\r\n")
        except ConnectionError:
            pass  # rejected before the whole body arrived
        assert connection.answer().status == 413
    door.still_serves()
