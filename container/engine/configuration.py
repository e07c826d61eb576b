"""The configuration that the engine gets, generated from the user's.

One unique `model_name` per deployment (its id), secrets still as `os.environ/…`, no router settings, retries off.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from ..config import Config, Deployment
from ..settings import VARIABLES

MASTER_KEY_VARIABLE = "LITELLM_ROUTER_ENGINE_KEY"

# litellm_params that the proxy acts on; the engine must not act on them again.
_OURS = ("rpm", "tpm", "weight", "timeout", "stream_timeout", "max_retries", "max_parallel_requests", "order")

# What of our own environment the engine never sees.
_WITHHELD = {v.name for v in VARIABLES} | {"DATABASE_URL", "DIRECT_URL", "LITELLM_SALT_KEY", "HOST"}
_WITHHELD_PREFIXES = ("REDIS_",)
# Downloads of LiteLLM that these replace with the copy in its package.
_USE_WHAT_IT_SHIPS = (
    "LITELLM_LOCAL_MODEL_COST_MAP",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS",
    "LITELLM_LOCAL_BLOG_POSTS",
    "LITELLM_LOCAL_POLICY_TEMPLATES",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS",
)


def configuration(config: Config) -> str:
    """YAML for `litellm --config`; every deployment that is on and is no mock is in it."""
    content: dict[str, Any] = {
        "model_list": [_model(d) for d in config.deployments if not d.off and d.kind != "mock"],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "litellm_settings": {
            "num_retries": 0,
            "telemetry": False,
            "drop_params": config.options.drop_params,
            **config.options.engine_settings,
        },
        "general_settings": {
            "master_key": f"os.environ/{MASTER_KEY_VARIABLE}",
            "cancel_on_disconnect": True,
            "disable_spend_logs": True,
        },
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _model(d: Deployment) -> dict[str, Any]:
    params = {name: value for name, value in d.params.items() if name not in _OURS}
    params["max_retries"] = 0
    name = f"{d.id}/*" if d.wildcard and "*" in str(params["model"]) else d.id
    return {"model_name": name, "litellm_params": params, "model_info": {**d.info, "id": d.id}}


def environment(own: Mapping[str, str], key: str) -> dict[str, str]:
    """The engine's environment: ours without what is ours alone, and nothing that makes it call home."""
    kept = {
        name: value
        for name, value in own.items()
        if name not in _WITHHELD and not name.startswith(_WITHHELD_PREFIXES) and value
    }
    return {
        **kept,
        MASTER_KEY_VARIABLE: key,
        **dict.fromkeys(_USE_WHAT_IT_SHIPS, "True"),
        "LITELLM_TELEMETRY": "False",
        "LITELLM_MODE": "PRODUCTION",  # or it reads any .env file it finds
        "LITELLM_LOG": own.get("LITELLM_LOG", "ERROR"),
        "NO_DOCS": "True",
        "DISABLE_ADMIN_UI": "True",
        "PYTHONUNBUFFERED": "1",
    }
