"""A complete response, sent with headers and body in one write.

aiohttp's `Response` builds a multidict and makes a dozen calls, which cost as much as the write itself. The bytes sent
here are the same.
"""

from collections.abc import Iterable, Sequence
from http import HTTPStatus

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

# Larger bodies are written separately, to avoid a copy.
_TOGETHER_BYTES = 64 * 1024
_WITHOUT_BODY = (204, 304)
_LINE = ": ".join
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class WholeAnswer(web.StreamResponse):
    """`headers` must not contain line breaks. The body is not sent in response to HEAD."""

    def __init__(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        super().__init__(status=status)
        self._lines = headers
        self._data = body
        self._request: web.BaseRequest | None = None

    @property
    def keep_alive(self) -> bool | None:
        return None if self._request is None else self._request.keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        self._request = request
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Raises ConnectionError when the client has disconnected."""
        request = self._request
        assert request is not None, "prepare comes first"
        body = b"" if request.method == "HEAD" or self.status in _WITHOUT_BODY else self._data
        head = "\r\n".join(self._head(request)).encode("ascii")
        if len(body) <= _TOGETHER_BYTES:
            await request.writer.write_eof(head + body)
        else:
            await request.writer.write(head)
            await request.writer.write_eof(body)

    def _head(self, request: web.BaseRequest) -> Iterable[str]:
        version = request.version
        lines = [f"HTTP/{version.major}.{version.minor} {self.status} {_REASONS.get(self.status, '')}"]
        lines += map(_LINE, self._lines)
        if self.status not in _WITHOUT_BODY and (self._data or request.method != "HEAD"):
            lines.append(f"content-length: {len(self._data)}")
        lines.append(f"date: {rfc822_formatted_time()}")
        if not request.keep_alive:
            if version == HttpVersion11:
                lines.append("connection: close")
        elif version == HttpVersion10:
            lines.append("connection: keep-alive")
        lines += ("", "")
        return lines
