"""Bodies that come compressed although nobody asked: undone in small pieces, so that no bomb unfolds all at once."""

import zlib

PIECE = 256 * 1024
_GZIP, _ZLIB, _RAW = 31, 15, -15
_MAGIC = b"\x1f\x8b"


class Decoder:
    """gzip (one member after another) or deflate (with zlib's header, or without as some servers send it)."""

    def __init__(self, encoding: str) -> None:
        self._deflate = encoding == "deflate"
        self._stream = None if self._deflate else zlib.decompressobj(_GZIP)
        self._left = b""
        self.waiting = False  # whether more of what was fed can be had with `decode(b"")`

    def decode(self, data: bytes) -> bytes:
        """The next at most PIECE bytes of the content. Raises zlib.error."""
        data = self._left + data if self._left else data
        if not data and not self.waiting:
            return data
        if self._stream is None:
            self._stream = zlib.decompressobj(_ZLIB if data[0] & 0x0F == 8 else _RAW)
        elif self._stream.eof:
            if not self._another(data):
                self.waiting = False
                return b""
            self._stream = zlib.decompressobj(_GZIP)
        content = self._stream.decompress(data, PIECE)
        self._left = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        # A full piece may not have been all, even where everything fed has been taken in.
        self.waiting = bool(self._left) or (len(content) == PIECE and not self._stream.eof)
        return content

    def _another(self, data: bytes) -> bool:
        """Whether this looks like another member, and not like the padding that some put behind the last."""
        return not self._deflate and _MAGIC.startswith(data[:2])


def decoder(encoding: str) -> Decoder | None:
    """For the value of a Content-Encoding; None where the body is left as it is, as with names that mean nothing."""
    name = encoding.strip().lower()
    return Decoder(name) if name in ("gzip", "x-gzip", "deflate") else None
