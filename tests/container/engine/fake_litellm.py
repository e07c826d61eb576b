"""Stands in for the `litellm` command: the same options, ready in a moment, misbehaving as FAKE_LITELLM says.

crash         ends with exit code 3
mute          listens, but is never ready
stubborn      ignores SIGTERM
chatty        writes a megabyte without a line break first
grandchild    starts a process that keeps its output open
late          listens after a second
"""

import argparse
import json
import os
import signal
import stat
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

parser = argparse.ArgumentParser()
for option in ("config", "host", "port", "telemetry", "keepalive_timeout"):
    parser.add_argument(f"--{option}", required=True)
options = parser.parse_args()
mode = os.environ.get("FAKE_LITELLM", "")

if mode == "crash":
    print("cannot go on", flush=True)
    sys.exit(3)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "chatty":
    print("x" * 1_000_000, flush=True)
if mode == "late":
    time.sleep(1)
grandchild = subprocess.Popen(["sleep", "600"]).pid if mode == "grandchild" else None

config = Path(options.config)
about = {
    "pid": os.getpid(),
    "grandchild": grandchild,
    "options": vars(options),
    "environment": dict(os.environ),
    "directory": str(Path.cwd()),
    "config": config.read_text(),
    "config_mode": stat.S_IMODE(config.stat().st_mode),
    "directory_mode": stat.S_IMODE(config.parent.stat().st_mode),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ready = mode != "mute"
        body = json.dumps(about).encode() if ready else b"{}"
        key = f"Bearer {os.environ['LITELLM_ROUTER_ENGINE_KEY']}"
        known = self.path != "/v1/models" or self.headers["authorization"] == key
        self.send_response(503 if not ready else 200 if known else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer((options.host, int(options.port)), Handler).serve_forever()
