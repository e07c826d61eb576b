"""Parsers of text from clients and providers run in linear time, so no text freezes the process."""

import json
from collections.abc import Callable

import orjson
import pytest

from container.accounting.reservation import UsageEvents
from container.formats.anthropic.request import _DATA
from container.formats.client_apis.messages.answer import PassedEvents
from container.formats.shared.chat_stream import EventStream
from container.formats.shared.failure import from_response, shown
from container.observability.log import hide_secrets
from container.records.request_log import Secrets, without_contents
from container.server.auth import client_address
from container.server.settings import networks
from tests.linear import grows_linearly
from worker.core.ledger import keys

PROXIES = networks("10.0.0.0/8")


def logged(text: str) -> object:
    raw = text.encode()
    return Secrets(["a-known-secret"]).contents(raw, len(raw), len(raw))


def shape(text: str) -> object:
    raw = orjson.dumps({"messages": [{"content": text, text: text}]})
    return without_contents(raw, len(raw))


def refused(text: str) -> object:
    return from_response(400, {}, orjson.dumps({"error": {"message": text, "code": text}}))


def chunk(text: str) -> object:
    return EventStream("gpt", drop_usage=True).feed(b"data: " + text.encode() + b"\n\n")


def message_event(text: str) -> object:
    return PassedEvents("claude").feed(b'data: {"type":"message_start","x":"' + text.encode() + b'"}\n\n')


def picture(text: str) -> object:
    return _DATA.fullmatch("data:" + text)


def forwarded(text: str) -> object:
    return client_address("10.0.0.1", lambda name: text, PROXIES)


def for_a_key(text: str) -> object:
    return keys.allows(json.dumps(["a*sk*-*a*b"]), text)


UNITS = [
    "sk-",
    "sk-a",
    "sk_abcdefgh-",
    "-",
    "AIza",
    "AKIA",
    "eyJ.",
    "a",
    "A1",
    "://",
    "://a",
    "://user:",
    "?key",
    "&keykey",
    "&token=",
    ".",
    " ",
    ". \n",
    "\\",
    '"',
    '\\"',
    '"model":',
    '"model": "',
    ";",
    ";base64",
    ",",
    "10.0.0.1,",
    "[::1]:1,",
    "\r\n",
]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    "run", [hide_secrets, shown, logged, shape, refused, chunk, message_event, picture, forwarded, for_a_key]
)
def test_parsing_time_is_linear(run: Callable[[str], object], unit: str):
    assert grows_linearly(run, unit)


def test_event_in_many_pieces_is_scanned_once():
    def run(text: str) -> None:
        events = UsageEvents()
        for at in range(0, len(text), 16):
            events.feed(text[at : at + 16].encode())

    assert grows_linearly(run, "data: x", 100_000)


@pytest.mark.parametrize(
    ("pattern", "model", "allowed"),
    [
        ("gpt-*", "gpt-4o", True),
        ("gpt-*", "gpt-", True),
        ("gpt-*", "a-gpt-4o", False),
        ("*", "anything/at\nall", True),
        ("*mini*", "gpt-4o-mini-2024", True),
        ("*mini*", "gpt-4o", False),
        ("a*b*c", "abc", True),
        ("a*b*c", "abcbc", True),
        ("a*b*c", "acb", False),
        ("a*b*b", "ab", False),
        ("a**b", "a-b", True),
        ("*.*", "a.b", True),
    ],
)
def test_pattern_with_several_stars(pattern, model, allowed):
    assert keys.allows(json.dumps([pattern]), model) is allowed
