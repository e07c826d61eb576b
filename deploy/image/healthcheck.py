"""Exits with 0 if the proxy in this container is alive.

It runs every 30 seconds, so it uses a plain socket: importing an HTTP client would cost more than everything else.
"""

import os
import socket
import sys

ANY_ADDRESS = ("", "::", "0.0.0.0")  # noqa: S104 compared with, not listened on
TIMEOUT_SECONDS = 4  # the image's HEALTHCHECK allows five

host = os.environ.get("LITELLM_HOST", "")
port = os.environ.get("LITELLM_PORT") or os.environ.get("PORT") or "4000"
try:
    with socket.create_connection(("127.0.0.1" if host in ANY_ADDRESS else host, int(port)), TIMEOUT_SECONDS) as proxy:
        proxy.sendall(b"GET /health/liveliness HTTP/1.0\r\nHost: localhost\r\n\r\n")
        status = proxy.recv(64).partition(b"\r\n")[0]
except OSError as error:
    sys.exit(f"no answer on port {port}: {error}")
sys.exit(None if b" 200 " in status else status.decode("latin-1"))
