"""Google's token endpoint on loopback, which records requests and can be told how to respond."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class TokenEndpoint:
    """`with TokenEndpoint() as endpoint:` responds with numbered tokens: `token-1`, `token-2`, ….

    `expires_in` is the lifetime of tokens in seconds. `refuse` is a status and a body to return instead. Responses wait
    until `gate` is set.
    """

    def __init__(self) -> None:
        self.expires_in = 3600
        self.refuse: tuple[int, dict[str, Any]] | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.asked = 0
        self.came = threading.Event()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                endpoint.asked += 1
                number = endpoint.asked
                endpoint.came.set()
                endpoint.gate.wait(10)
                status, body = endpoint.refuse or (200, endpoint.token(number))
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: Any) -> None:
                """Discards log messages."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def token(self, number: int) -> dict[str, Any]:
        return {"access_token": f"token-{number}", "expires_in": self.expires_in, "token_type": "Bearer"}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/token"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
