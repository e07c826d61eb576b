"""The depth check of JSON: it admits exactly what the edge's recursive parser survives."""

import json
import time

import pytest

from worker.edge.nesting import MOST_LEVELS, can_be_parsed, depth

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
