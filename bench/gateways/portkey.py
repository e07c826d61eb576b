"""Portkey's gateway from npm, in Node as it is shipped and in workerd as its authors deploy it."""

import subprocess
from pathlib import Path

from dev.offline import tools

from ..processes import ROOT, Process, free_port
from ..workload import MODEL
from . import npm
from .base import PROVIDER_KEY, START_SECONDS, Gateway, Running, Unavailable, bearer

VERSION = "1.15.2"
# With the newest of these that its ranges allow, streams are answered 500 ("immutable" headers); these were current
# when it was published.
OVERRIDES = {"hono": "4.9.7", "@hono/node-server": "1.13.0"}
BUNDLE = Path(__file__).with_name("portkey_bundle.mjs")
CONFIG = """\
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .gateway),
    (name = "internet", network = (allow = ["public", "private", "local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:{port}", http = (), service = "main")],
);
const gateway :Workerd.Worker = (
  modules = [
    (name = "entry.js", esModule = embed "entry.js"),
    (name = "./portkey.js", esModule = embed "portkey.js"),
  ],
  compatibilityDate = "2026-11-17",
  bindings = [(name = "ENVIRONMENT", text = "production")],
);
"""


def _install(cache: Path) -> Path:
    return npm.install(cache / f"portkey-{VERSION}", {"@portkey-ai/gateway": VERSION}, OVERRIDES)


def _running(port: int, provider: str, process: Process) -> Running:
    started = process.wait_for(f"http://127.0.0.1:{port}/", START_SECONDS)
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": provider, **bearer(PROVIDER_KEY)}
    return Running(f"http://127.0.0.1:{port}/v1/chat/completions", MODEL, headers, process, started)


class PortkeyNode(Gateway):
    name = "portkey-node"
    title = "Portkey, Node"
    features = "no client keys, no routing: provider and its key come with each request"

    def install(self, cache: Path) -> str:
        self._script = _install(cache) / "@portkey-ai/gateway/build/start-server.js"
        return VERSION

    def start(self, provider: str, directory: Path) -> Running:
        port = free_port()
        command = [npm.node(), str(self._script), "--headless", f"--port={port}"]
        return _running(port, provider, Process(command, directory / "log", {"NODE_ENV": "production"}))


class PortkeyWorkerd(Gateway):
    name = "portkey"
    title = "Portkey, workerd"
    features = PortkeyNode.features

    def install(self, cache: Path) -> str:
        modules = _install(cache)
        esbuild = ROOT / "node_modules/esbuild/lib/main.js"
        try:
            self._workerd = tools.workerd_binary()
        except tools.MissingTool as error:
            raise Unavailable(str(error)) from None
        if not esbuild.exists():
            raise Unavailable("esbuild, which comes with wrangler, is missing: run `just setup`")
        self._bundle = cache / f"portkey-{VERSION}" / "bundle"
        self._bundle.mkdir(exist_ok=True)
        source = modules / "@portkey-ai/gateway/build/start-server.js"
        command = [npm.node(), str(BUNDLE), str(esbuild), str(source), str(self._bundle)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"it cannot be bundled for workerd: {done.stderr.strip()[-400:]}")
        return VERSION

    def start(self, provider: str, directory: Path) -> Running:
        port = free_port()
        for name in ("entry.js", "portkey.js"):
            (directory / name).write_bytes((self._bundle / name).read_bytes())
        (directory / "config.capnp").write_text(CONFIG.format(port=port))
        process = Process([str(self._workerd), "serve", str(directory / "config.capnp")], directory / "log")
        return _running(port, provider, process)
