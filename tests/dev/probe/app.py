"""The server in the probe's container: HTTP on $PORT, with responses that describe its environment."""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GAP = 0.3
STEPS = threading.Semaphore(0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        action = self.path.partition("?")[0].rsplit("/", 1)[-1]
        if action == "exit":
            os._exit(3)
        if action == "stream":
            return self.stream()
        if action == "step":
            STEPS.release()
        self.answer({"pid": os.getpid(), "environment": dict(os.environ)})

    def do_POST(self):
        size = 0
        if "content-length" in self.headers:
            size = len(self.rfile.read(int(self.headers["content-length"])))
        else:
            while length := int(self.rfile.readline(), 16):
                size += len(self.rfile.read(length))
                self.rfile.readline()
            self.rfile.readline()
        self.answer({"size": size})

    def stream(self):
        """Sends 20 lines, or 4, each followed by a wait for a `step`."""
        long = "long" in self.path
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for number in range(20 if long else 4):
                data = f"data: {number}\n\n".encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()
                if long:
                    time.sleep(GAP)
                else:
                    STEPS.acquire()
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            print("the client has left", flush=True)

    def answer(self, content):
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        """Silences the log: only lines that the tests look for are printed."""


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
    server.daemon_threads = True
    print("listening", flush=True)
    server.serve_forever()
