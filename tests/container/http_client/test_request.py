"""The address and the head of a request."""

import pytest

from container.http_client.request import CannotConnect, Place, prepared


def head(url: str, **headers: str) -> list[str]:
    return prepared(url, tuple(headers.items()))[1].decode().split("\r\n")[:-1]


@pytest.mark.parametrize(
    ("url", "place", "host"),
    [
        ("https://api.openai.com/v1", Place(True, "api.openai.com", 443), "api.openai.com"),
        ("http://localhost:4000/v1", Place(False, "localhost", 4000), "localhost:4000"),
        ("https://x:80", Place(True, "x", 80), "x:80"),
        ("http://[::1]:81/", Place(False, "::1", 81), "[::1]:81"),
        ("http://[fe80::1%eth0]/", Place(False, "fe80::1%eth0", 80), "[fe80::1]"),
        ("https://Bücher.example/", Place(True, "xn--bcher-kva.example", 443), "xn--bcher-kva.example"),
        ("https://MixedCase.example./", Place(True, "mixedcase.example.", 443), "mixedcase.example."),
    ],
)
def test_address(url, place, host):
    assert prepared(url, ())[0] == place
    assert f"Host: {host}" in head(url)


def test_request_head():
    assert head("http://h/v1/chat?api-version=1#part", authorization="Bearer k") == [
        "POST /v1/chat?api-version=1 HTTP/1.1",
        "Host: h",
        "Accept: */*",
        "authorization: Bearer k",
    ]


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://h", "/"),
        ("http://h/a b/ü", "/a%20b/%C3%BC"),
        ("http://h/a%2Fb", "/a%2Fb"),
        ("http://h/?q=a b&r=%20", "/?q=a%20b&r=%20"),
    ],
)
def test_invalid_url_characters_are_encoded(url, target):
    assert head(url)[0] == f"POST {target} HTTP/1.1"


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://h:99999/", "http://", "ftp://h/", "h/v1", "http://a b/", "http://" + "ü" * 70 + "/"]
)
def test_invalid_address_is_a_connect_error(url):
    with pytest.raises(CannotConnect):
        prepared(url, ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "a\r\nevil: 1"),
        ("x", "a\nevil: 1"),
        ("x", "a\rb"),
        ("x", "a\0"),
        ("x", "\ud800"),
        ("x: y\r\nz", "1"),
        ("x y", "1"),
        ("", "1"),
        ("ü", "1"),
    ],
)
def test_header_cannot_inject_another_header(name, value):
    with pytest.raises(CannotConnect) as caught:
        prepared("http://h/", ((name, value),))
    assert value not in str(caught.value)


def test_address_cannot_inject_a_header():
    assert head("http://h/a\r\nevil: 1") == ["POST /aevil:%201 HTTP/1.1", "Host: h", "Accept: */*"]


def test_host_and_accept_can_be_overridden_and_framing_cannot():
    lines = head("http://h/", host="other", ACCEPT="a/b", connection="close", **{"Transfer-Encoding": "chunked"})
    assert lines[1:] == ["host: other", "ACCEPT: a/b"]


def test_credentials_in_the_address_are_sent_as_basic_auth():
    assert "Authorization: Basic dXM6cEB3" in head("http://us:p%40w@h/", authorization="Bearer k")
    assert "Host: h" in head("http://us:p%40w@h/")
