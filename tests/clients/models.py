"""The models that every client is tried with: the shipped config's, and one behind a server that only knows chat."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dev.setup import ROOT
from tests.fakes import strict

SHIPPED = ROOT / "litellm_config.yaml"
CHAT_ONLY = "chat-only"


class Model(NamedTuple):
    """`whose` is the heading of its column in the table."""

    name: str
    whose: str


MODELS = (
    Model("gpt-5.4", "gpt-5.4"),
    Model("gpt-4o", "gpt-4o"),
    Model("claude-sonnet-5-5", "Claude"),
    Model("gemini-3.8-flash", "Gemini"),
    Model(CHAT_ONLY, "chat only"),
)


def config(provider: str) -> dict[str, Any]:
    """The shipped models, without what would hide an error: retries, fallbacks and cooldowns."""
    shipped: dict[str, Any] = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    prices = {"input_cost_per_token": 1e-7, "output_cost_per_token": 1e-7}
    limits = {"max_input_tokens": 100_000, "max_output_tokens": 8192}
    own = {"model": "openai/local-model", "api_base": strict.base(provider, "chat_only"), "api_key": "sk-local"}
    return {
        "model_list": [
            *shipped["model_list"],
            {"model_name": CHAT_ONLY, "litellm_params": own, "model_info": {**prices, **limits}},
        ],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True, "timeout": 60},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }


def environment(provider: str) -> dict[str, str]:
    """The providers' keys, and the addresses of the strict ones. `provider`: the fake's URL."""
    return {
        "OPENAI_API_KEY": "sk-proj-fake",
        "OPENAI_BASE_URL": strict.base(provider, "openai"),
        "ANTHROPIC_API_KEY": "sk-ant-fake",
        "ANTHROPIC_API_BASE": strict.base(provider, "anthropic"),
        "GEMINI_API_KEY": "AIza-fake",
        "GEMINI_API_BASE": strict.base(provider, "gemini"),
    }


def written(config: dict[str, Any], folder: Path) -> Path:
    path = folder / "litellm_config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path
