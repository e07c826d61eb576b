"""The input of custom tools, read from arguments that are cut anywhere."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.formats.client_apis.responses.tools import CustomInput


@given(said=st.text(), ascii=st.booleans(), spaced=st.booleans(), data=st.data())
def test_pieces_add_up(said: str, ascii: bool, spaced: bool, data: st.DataObject):
    arguments = json.dumps({"input": said}, ensure_ascii=ascii, separators=(", ", ": ") if spaced else (",", ":"))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(arguments)))))
    reader = CustomInput()
    pieces = [reader.feed(arguments[a:b]) for a, b in zip([0, *cuts], [*cuts, len(arguments)], strict=True)]
    assert "".join(pieces) == "".join(reader.said) == said


@pytest.mark.parametrize("arguments", ['{"patch": "x"}', "[1]", "plain text", '{"input": 5}', '{"input": {"a": "b"}}'])
def test_other_arguments_are_left_to_the_end(arguments: str):
    assert CustomInput().feed(arguments) == ""


def test_nothing_is_read_behind_the_input():
    reader = CustomInput()
    assert reader.feed('{"input": "a", "more": "b"') == "a"
    assert reader.feed(', "input": "c"}') == ""


def test_invalid_text_ends_the_reading():
    reader = CustomInput()
    assert reader.feed('{"input": "a\nb') == ""
    assert reader.feed('c"}') == ""
