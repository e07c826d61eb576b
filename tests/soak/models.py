"""The config and the keys of the soak."""

from typing import Any

from tests.fakes.server import FakeProvider
from tests.soak.provider import SoakProvider

# Seconds without a byte from a provider before another one is tried.
TIMEOUT = 2
_PRICES = {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.000002, "max_output_tokens": 4096}
KEYS: dict[str, dict[str, Any]] = {
    "free": {},
    "limited": {"rpm_limit": 120},
    "narrow": {"max_parallel_requests": 2},
    "poor": {"max_budget": 0.02},
    "rotating": {"max_budget": 1000},
    "blocked": {},
}


def config(shaky: SoakProvider, solid: FakeProvider, *, number: int = 0, engine: bool) -> dict[str, Any]:
    """The config of revision `number`. Every third one has an additional model, which the engine has to load."""
    extra = number - number % 3
    bases = {"openai": shaky.openai_base, "anthropic": shaky.url, "gemini": shaky.gemini_base}

    def model(name: str, upstream: str, **more: Any) -> dict[str, Any]:
        base = bases[upstream.partition("/")[0]]
        params = {"model": upstream, "api_base": base, "api_key": "sk-provider", "timeout": TIMEOUT, **more}
        return {"model_name": name, "litellm_params": params, "model_info": _PRICES}

    def rock(name: str) -> dict[str, Any]:
        return model(name, f"openai/{name}", api_base=solid.openai_base, timeout=30)

    models = [
        model("gpt", "openai/gpt-a"),
        model("gpt", "openai/gpt-b"),
        model("claude", "anthropic/claude-sonnet-4-6"),
        model("gemini", "gemini/gemini-2.5-flash"),
        model("embed", "openai/embed-a"),
        model("alone", "openai/alone"),
        rock("rock"),
        rock("embed-rock"),
        *([rock(f"extra-{extra}")] if extra else []),
    ]
    if engine:  # a parameter that only LiteLLM knows sends it there
        translated = rock("translated")
        translated["litellm_params"]["merge_reasoning_content_in_choices"] = False
        models.append(translated)
    fallbacks = [{name: ["rock"]} for name in ("gpt", "claude", "gemini")] + [{"embed": ["embed-rock"]}]
    return {
        "model_list": models,
        "router_settings": {
            "num_retries": 2,
            "cooldown_time": 1 + number % 2,
            "allowed_fails": 3,
            "fallbacks": fallbacks,
        },
    }
