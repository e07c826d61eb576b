"""A real HTTP server with an issuer's keys, which can change them, be slow and fail."""

import http.server
import json
import threading
import time
from typing import Any


class KeyServer:
    """`keys`: the key set, or bytes. `status`, `delay`: of each answer, the latter in seconds. `requests`: the paths
    that were asked for. `documents`: other answers by path."""

    def __init__(self, keys: Any) -> None:
        self.keys = keys
        self.status, self.delay = 200, 0.0
        self.requests: list[str] = []
        self.documents: dict[str, Any] = {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.requests.append(self.path)
                time.sleep(outer.delay)
                found = outer.documents.get(self.path, outer.keys)
                content = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(outer.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                if outer.status in (301, 302):
                    self.send_header("location", outer.url)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.address}/jwks"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
