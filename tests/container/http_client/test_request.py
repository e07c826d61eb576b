"""The head of a request, and which requests go through which proxy: HTTPS_PROXY, HTTP_PROXY and NO_PROXY."""

import pytest

from container.http_client.request import CannotConnect, Place, exemptions, prepared, proxies, proxy


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


PROXY = proxy("http://proxy.example:3128")


def proxied(host: str, no_proxy: str = "", port: int = 443) -> bool:
    found = proxies(None, PROXY, exemptions(no_proxy))
    assert found is not None
    return found.of(Place(True, host, port)) is not None


@pytest.mark.parametrize(
    ("text", "place", "credentials"),
    [
        ("http://proxy.example:3128", Place(False, "proxy.example", 3128), None),
        ("http://proxy.example", Place(False, "proxy.example", 80), None),
        ("proxy.example:8080", Place(False, "proxy.example", 8080), None),
        ("http://[fd00::1]:3128/", Place(False, "fd00::1", 3128), None),
        ("http://me:p%40ss@proxy.example:1", Place(False, "proxy.example", 1), "Basic bWU6cEBzcw=="),
        ("me@proxy.example", Place(False, "proxy.example", 80), "Basic bWU6"),
    ],
)
def test_address_of_a_proxy(text, place, credentials):
    found = proxy(text)
    assert (found.place, found.authorization) == (place, credentials)
    assert "Basic" not in repr(found)


@pytest.mark.parametrize("text", ["socks5://proxy:1", "https://proxy:1", "http://", "http://proxy:port", "://"])
def test_an_address_that_cannot_be_used(text):
    with pytest.raises(ValueError, match="write http://"):
        proxy(text)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_is_never_proxied(host):
    assert not proxied(host)


@pytest.mark.parametrize("host", ["api.example", "10.0.0.1", "localhost.example", "fd00::1", "::ffff:10.0.0.1"])
def test_everything_else_is_proxied(host):
    assert proxied(host)


@pytest.mark.parametrize(
    ("no_proxy", "exempt", "not_exempt"),
    [
        ("a.example", "a.example", "b.example"),
        ("a.example", "x.a.example", "xa.example"),
        (".a.example", "x.a.example", "xa.example"),
        (".a.example", "a.example", "example"),
        ("*.a.example", "x.a.example", "b.example"),
        ("A.Example", "a.EXAMPLE.", "a.example.org"),
        ("x.example , a.example,", "a.example", "y.example"),
        ("x.example a.example", "a.example", "y.example"),
        ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
        ("10.0.0.0/8", "::ffff:10.1.1.1", "::ffff:11.1.1.1"),
        ("fd00::/8", "fd12::1", "fe80::1"),
        ("[fd00::1]", "fd00::1", "fd00::2"),
    ],
)
def test_no_proxy(no_proxy, exempt, not_exempt):
    assert not proxied(exempt, no_proxy)
    assert proxied(not_exempt, no_proxy)


def test_no_proxy_for_one_port():
    for entry, host in (("a.example:8443", "a.example"), ("10.0.0.1:8443", "10.0.0.1"), ("[fd00::1]:8443", "fd00::1")):
        assert not proxied(host, entry, port=8443)
        assert proxied(host, entry, port=443)


def test_no_proxy_for_everything():
    assert not proxied("api.example", "*")


def test_each_scheme_has_its_own_proxy():
    found = proxies(PROXY, None, ())
    assert found is not None
    assert found.of(Place(False, "api.example", 80)) is PROXY
    assert found.of(Place(True, "api.example", 443)) is None
    assert proxies(None, None, exemptions("*")) is None


def test_only_plain_http_names_the_full_address():
    found = proxies(proxy("http://me:secret@proxy.example"), PROXY, ())
    assert found is not None
    for url, line in (
        ("http://api.example:8080/v1?a=b", b"POST http://api.example:8080/v1?a=b HTTP/1.1"),
        ("https://api.example/v1", b"POST /v1 HTTP/1.1"),
        ("http://127.0.0.1/v1", b"POST /v1 HTTP/1.1"),
    ):
        place, head = prepared(url, (("authorization", "Bearer k"),))
        sent = found.head(place, head)
        assert sent.split(b"\r\n")[0] == line
        assert (b"Proxy-Authorization" in sent) == line.startswith(b"POST http:")
        assert sent.endswith(b"\r\n")
        assert b"\r\n\r\n" not in sent
