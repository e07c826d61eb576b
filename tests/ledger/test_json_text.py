"""`worker.core.protocol`, with Python's own json as the oracle."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.protocol import from_json, to_json

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("text", ["", " ", "{", '{"a": 1} x', "[1]]", "nul", '"open', '{"a": 1,}', b"{\xff}"])
def test_what_is_no_json_raises_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        from_json(text)


def test_what_json_cannot_hold_raises_a_type_error() -> None:
    with pytest.raises(TypeError):
        to_json({"a": object()})


@given(_VALUES)
def test_it_encodes_and_decodes_as_json_does(value: Any) -> None:
    assert to_json(value) == json.dumps(value)
    assert from_json(to_json(value)) == value


@pytest.mark.parametrize("text", [' {"a": [1, 2]} ', '\n"x"', b'{"a": "\xc3\xa4"}', "1.5"])
def test_white_space_and_bytes_are_read(text: str | bytes) -> None:
    assert from_json(text) == json.loads(text)


def test_tuples_are_lists() -> None:
    assert to_json({"headers": (("a", "b"),)}) == '{"headers": [["a", "b"]]}'
