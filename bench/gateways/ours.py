"""Our proxy as it runs standalone, every feature on."""

import json
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..processes import ROOT, Process, free_port
from ..workload import MODEL, RESPONSES
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
# Of everyone, of each user, and of the key itself: everything that can be limited, so far off that nothing is refused.
BUDGETS = """\
litellm_settings: {max_budget: 1000000, budget_duration: 1d, max_user_budget: 1000000, user_budget_duration: 7d}
"""
LIMITS = {
    "user_id": "bench",
    "max_budget": 1_000_000,
    "budget_duration": "1d",
    "rpm_limit": 1_000_000_000,
    "tpm_limit": 1_000_000_000_000,
    "max_parallel_requests": 1_000_000,
}


def write_config(provider: str, directory: Path, model_of: str = "openai/gpt", more: str = "") -> Path:
    path = directory / "litellm_config.yaml"
    path.write_text(CONFIG.format(model=MODEL, model_of=model_of, provider=provider, key=PROVIDER_KEY) + more)
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
    path = "/chat/completions"
    settings = ""  # more lines of the configuration
    workers = 1

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
            str(write_config(provider, directory, self.model_of, self.settings)),
        ]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        if self.workers > 1:
            command += ["--workers", str(self.workers)]
        environment = {"LITELLM_MASTER_KEY": MASTER_KEY, "LEDGER_PATH": str(directory / "ledger.db")}
        process = Process(command, directory / "log", environment, self.root)
        started = process.wait_for(f"http://127.0.0.1:{port}/health/readiness", START_SECONDS)
        key = self.key(f"http://127.0.0.1:{port}")
        return Running(f"http://127.0.0.1:{port}/v1{self.path}", MODEL, bearer(key), process, started)

    def key(self, url: str) -> str:
        """What clients of the proxy at `url` present."""
        return MASTER_KEY


class OursLimited(Ours):
    """The same, its clients with a virtual key that has every limit there is."""

    name = "ours-limited"
    title = "LiteLLM Router: proxy, limited key"
    features = (
        "the same with a virtual key: its budget, its user's and everyone's, limits on requests, tokens and requests "
        "at a time, so that every prompt is estimated and its cost reserved"
    )
    settings = BUDGETS

    def key(self, url: str) -> str:
        return self._made(f"{url}/key/generate", LIMITS)["key"]

    def _made(self, url: str, fields: dict[str, Any]) -> dict[str, Any]:
        headers = {**bearer(MASTER_KEY), "Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(fields).encode(), headers)
        with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
            return json.load(answer)


class OursAccounts(OursLimited):
    """The same, and its key belongs to a team and its user, and has two tags; they and the end user have budgets."""

    name = "ours-accounts"
    title = "LiteLLM Router: proxy, every account"
    features = "the limited key, whose requests also draw on a team, an end user and two tags with budgets of their own"
    settings = BUDGETS.replace("{", "{max_end_user_budget: 1000000, ", 1)

    def start(self, provider: str, directory: Path) -> Running:
        running = super().start(provider, directory)
        return replace(running, headers={**running.headers, "x-litellm-end-user-id": "7"})

    def key(self, url: str) -> str:
        budget = {"max_budget": LIMITS["max_budget"], "budget_duration": "1d"}
        self._made(f"{url}/team/new", {"team_id": "blue", **budget})
        self._made(f"{url}/user/new", {"user_id": LIMITS["user_id"], "auto_create_key": False, **budget})
        for tag in ("day", "batch"):
            self._made(f"{url}/tag/new", {"name": tag, **budget})
        return self._made(f"{url}/key/generate", {**LIMITS, "team_id": "blue", "tags": ["day", "batch"]})["key"]


class OursTwoWorkers(OursLimited):
    """The same with two workers, to compare with `ours-limited`: CPU per request, not requests per second."""

    name = "ours-2-workers"
    title = "LiteLLM Router: limited key, 2 workers"
    workers = 2


class OursFourWorkers(OursLimited):
    name = "ours-4-workers"
    title = "LiteLLM Router: limited key, 4 workers"
    workers = 4


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


class OursResponses(Ours):
    """The same, its clients using the Responses API, which the provider has, too."""

    name = "ours-responses"
    title = "LiteLLM Router: Responses"
    path = RESPONSES


class OursResponsesClaude(OursClaude):
    """The same, translated to Claude's API."""

    name = "ours-responses-claude"
    title = "LiteLLM Router: Responses to Claude"
    path = RESPONSES
