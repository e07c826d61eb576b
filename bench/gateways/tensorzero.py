"""TensorZero from PyPI: the package holds the whole gateway, in Rust, and starts it as an HTTP server.

Source: `patch_openai_client` in tensorzero/__init__.py, which does the same for a client of its own process.
"""

import shutil
import sys
from pathlib import Path

from ..processes import Process
from ..workload import MODEL
from .base import PROVIDER_KEY, START_SECONDS, Gateway, Running, run_installer

VERSION = "2026.6.0"
LAUNCHER = Path(__file__).with_name("tensorzero_launcher.py")
_INSTALL_SECONDS = 300
CONFIG = """\
[gateway]
observability.enabled = false
disable_pseudonymous_usage_analytics = true

[models.{model}]
routing = ["one", "two"]

[models.{model}.providers.one]
type = "openai"
model_name = "gpt-a"
api_base = "{provider}/"
api_key_location = "env::PROVIDER_KEY"

[models.{model}.providers.two]
type = "openai"
model_name = "gpt-b"
api_base = "{provider}/"
api_key_location = "env::PROVIDER_KEY"
"""


class TensorZero(Gateway):
    name = "tensorzero"
    title = "TensorZero"
    features = "two providers with fallback; no client keys and no accounting, which need its databases"

    def install(self, cache: Path) -> str:
        self._site = cache / f"tensorzero-{VERSION}"
        if not self._site.is_dir():
            uv = Path(sys.executable).with_name("uv")
            command = [str(uv)] if uv.exists() else [sys.executable, "-m", "uv"]
            unfinished = cache / "tensorzero-unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            command += ["pip", "install", "--quiet", "--python", sys.executable, "--target", str(unfinished)]
            run_installer([*command, f"tensorzero=={VERSION}"], _INSTALL_SECONDS)
            unfinished.rename(self._site)
        return VERSION

    def start(self, provider: str, directory: Path) -> Running:
        config = directory / "tensorzero.toml"
        config.write_text(CONFIG.format(model=MODEL, provider=provider))
        environment = {"PYTHONPATH": str(self._site), "PROVIDER_KEY": PROVIDER_KEY}
        process = Process([sys.executable, "-P", str(LAUNCHER), str(config)], directory / "log", environment)
        url, started = process.wait_for_line("listening: ", START_SECONDS)
        return Running(f"{url}/chat/completions", f"tensorzero::model_name::{MODEL}", {}, process, started)
