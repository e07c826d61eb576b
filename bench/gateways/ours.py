"""Our proxy as it runs standalone, every feature on."""

import subprocess
import sys
from pathlib import Path

from ..processes import ROOT, Process, free_port
from ..workload import MODEL
from .base import MASTER_KEY, PROVIDER_KEY, START_SECONDS, Gateway, Running, bearer

# Two keys of one provider to choose from, another model to fall back to, retries and prices, as a team would have it.
CONFIG = """\
model_list:
  - model_name: {model}
    litellm_params: {{model: {model_of}-a, api_base: "{provider}", api_key: "{key}-1", weight: 3}}
    model_info: {{input_cost_per_token: 0.000001, output_cost_per_token: 0.000004}}
  - model_name: {model}
    litellm_params: {{model: {model_of}-b, api_base: "{provider}", api_key: "{key}-2", weight: 1}}
    model_info: {{input_cost_per_token: 0.000001, output_cost_per_token: 0.000004}}
  - model_name: spare
    litellm_params: {{model: {model_of}-c, api_base: "{provider}", api_key: "{key}-3"}}
    model_info: {{input_cost_per_token: 0.000001, output_cost_per_token: 0.000004}}
router_settings:
  num_retries: 2
  fallbacks: [{{{model}: [spare]}}]
"""


def write_config(provider: str, directory: Path, model_of: str = "openai/gpt") -> Path:
    path = directory / "litellm_config.yaml"
    path.write_text(CONFIG.format(model=MODEL, model_of=model_of, provider=provider, key=PROVIDER_KEY))
    return path


def version(root: Path = ROOT) -> str:
    """The commit, with a + when the tree differs from it."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


class Ours(Gateway):
    name = "ours"
    title = "LiteLLM Router: proxy"
    features = (
        "master key, a ledger on SQLite that every request is written to before and after, routing between two "
        "deployments with fallback and retries, usage, one log line per attempt"
    )

    root = ROOT
    model_of = "openai/gpt"

    def install(self, cache: Path) -> str:
        return version(self.root)

    def start(self, provider: str, directory: Path) -> Running:
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "container",
            "serve",
            "--config",
            str(write_config(provider, directory, self.model_of)),
        ]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        environment = {"LITELLM_MASTER_KEY": MASTER_KEY, "LEDGER_PATH": str(directory / "ledger.db")}
        process = Process(command, directory / "log", environment, self.root)
        started = process.wait_for(f"http://127.0.0.1:{port}/health/readiness", START_SECONDS)
        return Running(f"http://127.0.0.1:{port}/v1/chat/completions", MODEL, bearer(MASTER_KEY), process, started)


class OursGemini(Ours):
    """The same, the provider speaking Gemini's wire format."""

    name = "ours-gemini"
    title = "LiteLLM Router: Gemini"
    model_of = "gemini/gemini-2.5"


class OursClaude(Ours):
    """The same, the provider speaking Anthropic's."""

    name = "ours-claude"
    title = "LiteLLM Router: Claude"
    model_of = "anthropic/claude-sonnet-4-6"
