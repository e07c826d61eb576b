"""Opens a tunnel through an HTTP proxy: CONNECT, on a connected socket.

Source: https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
"""

import asyncio
import socket

from .proxies import Proxy
from .request import Place, ProxyFailed, authority

_END = b"\r\n\r\n"
MAX_ANSWER_BYTES = 16 * 1024


async def tunnel(one: socket.socket, proxy: Proxy, place: Place) -> None:
    """Asks the proxy to connect to `place`. Afterwards the socket is as if it were connected there.

    Raises ProxyFailed, or OSError.
    """
    loop = asyncio.get_running_loop()
    target = authority(place)
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    await loop.sock_sendall(one, "\r\n".join(lines).encode() + _END)
    answer = b""
    while _END not in answer:
        data = await loop.sock_recv(one, MAX_ANSWER_BYTES)
        answer += data
        if not data or len(answer) > MAX_ANSWER_BYTES:
            raise ProxyFailed("the HTTP proxy did not answer CONNECT")
    status = _status(answer)
    if not 200 <= status < 300:
        raise ProxyFailed(f"the HTTP proxy answered {status} to CONNECT")
    if not answer.endswith(_END):  # in a tunnel to a TLS server the client speaks first
        raise ProxyFailed("the HTTP proxy sent more than its answer to CONNECT")


def _status(answer: bytes) -> int:
    version, _, rest = answer.partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or not code.isdigit():
        raise ProxyFailed("the HTTP proxy's answer to CONNECT is not HTTP")
    return int(code)
