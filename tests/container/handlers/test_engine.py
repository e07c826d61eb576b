"""A deployment's ID never reaches a client, however a stream is split."""

from hypothesis import given
from hypothesis import strategies as st

from container.handlers.engine import Rename

OLD, NEW = b"5f0c5f0d", b"gpt"


def through(pieces: list[bytes], old: bytes = OLD) -> bytes:
    rename = Rename(old, NEW)
    return b"".join([*map(rename.feed, pieces), rename.end()])


def test_every_split_gives_the_same_result():
    text = b'data: {"model":"5f0c5f0d","x":"5f0c"}\n\ndata: 5f0c5f0c5f0d5f'
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            pieces = [text[:first], text[first:second], text[second:]]
            assert through(pieces) == text.replace(OLD, NEW)


@given(
    st.lists(st.text("ab", max_size=6).map(str.encode), max_size=12), st.sampled_from([b"abab", b"aab", b"a", b"aaa"])
)
def test_arbitrary_pieces(pieces: list[bytes], old: bytes):
    assert through(pieces, old) == b"".join(pieces).replace(old, NEW)


def test_data_that_cannot_contain_the_name_is_not_held_back():
    rename = Rename(OLD, NEW)
    assert rename.feed(b"data: a\n\n") == b"data: a\n\n"
    assert rename.feed(b"5f0") == b""
    assert rename.feed(b"x") == b"5f0x"
    assert rename.feed(b"5f0") == b""
    assert rename.end() == b"5f0"
    assert rename.end() == b""
