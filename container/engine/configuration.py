"""Generates the engine's configuration from the user's.

Each deployment gets a unique `model_name` (its id). Secrets remain `os.environ/…` references, and router settings and
retries are off.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..config import callbacks
from ..config.deployment import OUTPUT_LIMITS, Deployment
from ..config.document import REFERENCE
from ..config.load import Config
from ..config.providers import DIRECT, origin
from ..server.settings import VARIABLES

MASTER_KEY_VARIABLE = "LITELLM_ROUTER_ENGINE_KEY"

_NO_KEY = "none"

# litellm_params that the proxy handles itself. The engine must not apply them again.
_OURS = (
    "rpm",
    "tpm",
    "weight",
    "timeout",
    "stream_timeout",
    "max_retries",
    "num_retries",
    "max_parallel_requests",
    "order",
)

# Variables that the engine never sees: the proxy's own, and those that LiteLLM's command takes for options. OTEL_*
# variables are passed on because its `otel` callback reads them, too, and so are those of HTTP proxies.
_PASSED_ON = ("OTEL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_WITHHELD = {v.name for v in VARIABLES if not v.name.upper().startswith(_PASSED_ON)} | set(
    """
    DIRECT_URL IAM_TOKEN_DB_AUTH AZURE_POSTGRESQL_AUTH USE_V2_MIGRATION_RESOLVER LITELLM_SALT_KEY
    CONFIG_FILE_PATH WORKER_CONFIG LITELLM_CONFIG LITELLM_WORKER_STARTUP_HOOKS USE_AWS_KMS
    HOST DEBUG DETAILED_DEBUG NUM_WORKERS GRANIAN_RUNTIME_THREADS SSL_KEYFILE_PATH SSL_CERTFILE_PATH
    SERVER_ROOT_PATH SERVER_ROOT_PATHS KEEPALIVE_TIMEOUT TIMEOUT_WORKER_HEALTHCHECK LIMIT_CONCURRENCY
    MAX_REQUESTS_BEFORE_RESTART MAX_REQUESTS_BEFORE_RESTART_JITTER PROMETHEUS_METRICS_PORT PROMETHEUS_MULTIPROC_DIR
    """.split()
)
_WITHHELD_PREFIXES = ("REDIS_", "DATABASE_", "LITELLM_CONFIG_BUCKET_")
# Make LiteLLM use the copies in its package instead of downloading these.
_USE_WHAT_IT_SHIPS = (
    "LITELLM_LOCAL_MODEL_COST_MAP",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS",
    "LITELLM_LOCAL_BLOG_POSTS",
    "LITELLM_LOCAL_POLICY_TEMPLATES",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS",
)


def same_engine(one: Config, other: Config) -> bool:
    """Whether the engine of one configuration can serve the other."""
    return configuration(one) == configuration(other) and one.environment == other.environment


def configuration(config: Config) -> str:
    """Return the YAML for `litellm --config`, with every deployment that is on and not a mock."""
    content: dict[str, Any] = {
        "model_list": [_model(d) for d in config.deployments if not d.off and d.kind != "mock"],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "litellm_settings": {
            "num_retries": 0,
            "telemetry": False,
            "disable_hf_tokenizer_download": True,
            "drop_params": config.options.drop_params,
            **config.options.engine_settings,
        },
        **config.options.engine_sections,
        "general_settings": {
            "master_key": f"os.environ/{MASTER_KEY_VARIABLE}",
            "cancel_on_disconnect": True,
            "disable_spend_logs": True,
            # Otherwise LiteLLM lists every provider's models with our keys, at startup and every five minutes.
            "disable_model_info_refresh": True,
        },
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _model(d: Deployment) -> dict[str, Any]:
    params = {name: value for name, value in d.params.items() if name not in _OURS and name not in OUTPUT_LIMITS}
    extra = params.get("extra_body")
    if isinstance(extra, dict) and not OUTPUT_LIMITS.isdisjoint(extra):
        # Each request carries its own output limit. One in the engine's config would override it.
        params["extra_body"] = {k: v for k, v in extra.items() if k not in OUTPUT_LIMITS}
    params["max_retries"] = 0
    if _is_strangers(d):
        params["api_key"] = _NO_KEY
    name = f"{d.id}/*" if d.wildcard and "*" in str(params["model"]) else d.id
    return {"model_name": name, "litellm_params": params, "model_info": {**d.info, "id": d.id}}


def modules(config: Config) -> list[Path]:
    """Return the user's Python files beside the config, if a setting refers to a function in them.

    LiteLLM imports modules from its config's directory, and those may import others.
    """
    options = config.options
    named = [*callbacks.named(options.engine_settings)]
    named += [
        str((one.get("litellm_params") or {}).get("guardrail")) for one in options.engine_sections.get("guardrails", ())
    ]
    named += [str(one.get("custom_handler")) for one in options.engine_settings.get("custom_provider_map") or ()]
    packages = [config.folder / name for name in callbacks.modules(named)]
    if not any(path.exists() or path.with_suffix(".py").exists() for path in packages):
        return []
    return [*sorted(config.folder.glob("*.py")), *(path for path in packages if path.is_dir())]


def _is_strangers(d: Deployment) -> bool:
    """Whether a deployment has a custom address but no key. LiteLLM would send the provider's default key there."""
    direct = DIRECT.get(d.provider)
    base = d.params.get("api_base") or d.params.get("base_url")
    if direct is None or not direct.base or not direct.key_variables or "api_key" in d.params or not base:
        return False
    if d.kind == "direct":
        return d.api_key is None
    return not str(base).startswith(REFERENCE) and origin(str(base)) != origin(direct.base)


def environment(own: Mapping[str, str], key: str) -> dict[str, str]:
    """Return the engine's environment, without the proxy's own variables and with telemetry and downloads off."""
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
        "LITELLM_MODE": "PRODUCTION",  # otherwise it reads any .env file that it finds
        "LITELLM_LOG": own.get("LITELLM_LOG", "ERROR"),
        "NO_DOCS": "True",
        "DISABLE_ADMIN_UI": "True",
        "PYTHONUNBUFFERED": "1",
    }
