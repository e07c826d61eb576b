"""The real wrangler against a fake Cloudflare API: the output about secrets that `dev.deploy` relies on."""

import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev import deploy
from dev.wrangler_command import Wrangler

SECRETS = "/accounts/account/workers/scripts/litellm-router/secrets"
KEY = "sk-0123456789abcdef"


class Cloudflare(http.server.BaseHTTPRequestHandler):
    """`secrets` None: the Worker does not exist. Records the secrets that were put, and their authorization."""

    secrets: list[dict[str, str]] | None = None
    put: list[tuple[dict[str, Any], str]]

    def do_GET(self) -> None:
        if self.path != SECRETS or self.secrets is None:
            missing = {"code": 10007, "message": "This Worker does not exist on your account."}
            self._answer(404, {"success": False, "errors": [missing], "messages": [], "result": None})
        else:
            self._answer(200, {"success": True, "errors": [], "messages": [], "result": self.secrets})

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.put.append((body, self.headers["authorization"]))
        self._answer(200, {"success": True, "errors": [], "messages": [], "result": {"name": body["name"]}})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def cloudflare() -> Iterator[tuple[type[Cloudflare], str]]:
    handler = type("ThisCloudflare", (Cloudflare,), {"put": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield handler, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def tool(cloudflare: tuple[type[Cloudflare], str], tmp_path: Path) -> Wrangler:
    return Wrangler.installed(
        {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "CLOUDFLARE_API_BASE_URL": cloudflare[1],
            "CLOUDFLARE_API_TOKEN": "token",
            "CLOUDFLARE_ACCOUNT_ID": "account",
        }
    )


def test_a_missing_worker_has_no_secrets(tool: Wrangler) -> None:
    assert deploy.secret_names(tool) == set()


def test_names_of_secrets(cloudflare: tuple[type[Cloudflare], str], tool: Wrangler) -> None:
    cloudflare[0].secrets = [
        {"name": "LITELLM_MASTER_KEY", "type": "secret_text"},
        {"name": "X", "type": "secret_text"},
    ]
    assert deploy.secret_names(tool) == {"LITELLM_MASTER_KEY", "X"}


def test_a_secret_is_put(cloudflare: tuple[type[Cloudflare], str], tool: Wrangler) -> None:
    cloudflare[0].secrets = []
    deploy.put_secret(tool, "LITELLM_MASTER_KEY", KEY)
    expected = {"name": "LITELLM_MASTER_KEY", "text": KEY, "type": "secret_text"}
    assert cloudflare[0].put == [(expected, "Bearer token")]
