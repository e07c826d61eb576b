"""Compressed bodies."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.http_client.client import PIECE, Decoder, decoder


def deflate(data: bytes, wbits: int) -> bytes:
    compressor = zlib.compressobj(wbits=wbits)
    return compressor.compress(data) + compressor.flush()


def undone(one: Decoder, parts: list[bytes]) -> list[bytes]:
    pieces = []
    for part in parts:
        pieces.append(one.decode(part))
        while one.waiting:
            pieces.append(one.decode(b""))
    return pieces


ENCODED = {
    "gzip": lambda data: gzip.compress(data),
    "x-gzip": lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:]),
    "GZIP ": lambda data: gzip.compress(data) + b"\0" * 9,
    "deflate": lambda data: deflate(data, 15),
    "Deflate": lambda data: deflate(data, -15),
}


@pytest.mark.parametrize("encoding", ENCODED)
@given(data=st.binary(max_size=2000) | st.integers(0, 3 * PIECE).map(lambda n: b"a" * n), step=st.integers(1, 400))
def test_result_does_not_depend_on_the_split(encoding, data, step):
    one = decoder(encoding)
    assert one is not None
    sent = ENCODED[encoding](data)
    pieces = undone(one, [sent[at : at + step] for at in range(0, len(sent), step)])
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= PIECE


def test_decompression_bomb_expands_one_piece_at_a_time():
    one = Decoder("gzip")
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    assert len(one.decode(bomb)) == PIECE
    assert one.waiting


@pytest.mark.parametrize("encoding", ["", "identity", "br", "zstd", "utf-8", "gzip, gzip"])
def test_unknown_encoding_is_left_as_is(encoding):
    assert decoder(encoding) is None


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_corrupt_data_is_an_error(encoding):
    with pytest.raises(zlib.error):
        Decoder(encoding).decode(b'{"plain": "text"}' * 10)
