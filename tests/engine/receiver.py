"""The receiver of LiteLLM's `generic_api` callback."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class Receiver:
    """`told`: the reported requests."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["content-length"])))
                receiver.told += content if isinstance(content, list) else [content]
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Discards log messages."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, words: str, status: str) -> dict[str, Any]:
        """The report on the request that contains `words`."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for one in list(self.told):
                if one["status"] == status and words in json.dumps(one["messages"]):
                    return one
            time.sleep(0.1)
        raise AssertionError(f"nobody was told of {words!r}: {[(t['status'], t['messages']) for t in self.told]}")
