"""What `worker.edge.requests` decides: the headers that go on, the depth of JSON, and the instances of a key.

Exactly what the edge's recursive parser survives is parsed.
"""

import json
import time
from collections import Counter

import pytest

from worker.core.protocol import NO_INSTANCE_HEADER, TOKEN_HEADER
from worker.edge.requests import (
    MOST_LEVELS,
    can_be_parsed,
    candidates,
    depth,
    dropped,
    forwarded,
    instance_names,
    is_dropped,
)

DEEP = b"[" * 5000


@pytest.mark.parametrize(
    ("content", "levels"),
    [
        (b"", 0),
        (b"1", 0),
        (b"{}", 1),
        (b'{"a": [[], [[]], {"b": {}}]}', 4),
        (b'{"[[[[": "{{{{"}', 1),
        (rb'["\"[[[", []]', 2),
        (rb'["\\", [], "\\\"[["]', 2),
        (b'[["[[[', 2),
        (b"]]]][[", 0),
    ],
)
def test_depth(content: bytes, levels: int):
    assert depth(content) == levels


@pytest.mark.parametrize(
    "content",
    [
        b"[" + b"[]," * 100_000 + b"[]]",
        json.dumps(["[" * 5000, '\\"{[' * 5000, {"{": "["}]).encode(),
        b"[" * MOST_LEVELS + b"]" * MOST_LEVELS,
        (b"[" * MOST_LEVELS + b"]" * MOST_LEVELS).decode().encode("utf-8-sig"),
    ],
    ids=["many and shallow", "in strings", "just as deep as may be", "after a byte order mark"],
)
def test_shallow_json_can_be_parsed(content: bytes):
    assert can_be_parsed(content)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * (MOST_LEVELS + 1) + b"]" * (MOST_LEVELS + 1),
        b'{"a":' * (MOST_LEVELS + 1) + b"1" + b"}" * (MOST_LEVELS + 1),
        rb'["\\",' + DEEP,
        rb'["\"",' + DEEP,
        b"[" + b"[]," * 5000 + DEEP,
        '["\u2200",'.encode("utf-16") + DEEP.decode().encode("utf-16-le"),
        '["\u2222",'.encode("utf-32") + DEEP.decode().encode("utf-32-le"),
    ],
    ids=["arrays", "objects", "after a backslash", "after a quote", "after shallow ones", "UTF-16", "UTF-32"],
)
def test_deep_json_is_detected(content: bytes):
    assert not can_be_parsed(content)


@pytest.mark.parametrize("unit", [b"[", b"[]", b'"', rb'"\"', b"\\", b'["\\'])
def test_a_megabyte_is_checked_in_linear_time(unit: bytes):
    content = b"[" * 2000 + unit * (1_000_000 // len(unit))
    began = time.process_time()
    can_be_parsed(content)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "x-api-key",
        "api-key",
        "cookie",
        "origin",
        "proxy-authorization",
        "x-internal-token",
        "x-internal-anything",
        "x-litellm-api-key",
        "x-litellm-tags",
        "connection",
        "transfer-encoding",
        "expect",
        TOKEN_HEADER,
        NO_INSTANCE_HEADER,
    ],
)
def test_headers_that_are_dropped(name):
    assert is_dropped(name)
    assert forwarded({name: "x"}) == {}


@pytest.mark.parametrize(
    "name",
    ["content-type", "accept", "user-agent", "openai-beta", "anthropic-version", "x-stainless-lang", "x-request-id"],
)
def test_headers_that_are_forwarded(name):
    assert not is_dropped(name)
    assert forwarded({name: "x"}) == {name: "x"}


def test_dropped_keeps_the_original_spelling():
    assert dropped(["Authorization", "Accept", "X-Internal-Token"]) == ["Authorization", "X-Internal-Token"]


def test_one_instance_serves_all():
    assert candidates(1, "any") == candidates(1, None) == ["proxy-0"]


def test_a_key_keeps_its_instance_and_any_other_can_take_over():
    order = candidates(5, "sk-a")
    assert order == candidates(5, "sk-a")
    assert sorted(order) == instance_names(5)


def test_keys_are_spread():
    first = Counter(candidates(4, f"sk-{number}")[0] for number in range(400))
    assert sorted(first) == instance_names(4)
    assert min(first.values()) > 50


def test_any_text_is_a_key():
    assert len(candidates(3, "\ud800 ü")) == 3
