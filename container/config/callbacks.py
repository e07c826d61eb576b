"""LiteLLM's callbacks: the environment variables that each reads and the package that it needs.

The edge passes these variables to its container. A callback whose package is missing is left out, because LiteLLM would
silently run without it or install it at startup. Names and variables are LiteLLM's
(https://docs.litellm.ai/docs/proxy/logging, litellm/integrations/).
"""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

from .document import Document, KeyPath

SETTINGS = ("callbacks", "success_callback", "failure_callback")
# Callbacks whose function the gateway provides itself.
_OURS = {
    "prometheus": "GET /metrics has the figures",
    "dynamic_rate_limiter": "keys have `rpm_limit` and `tpm_limit`",
    "dynamic_rate_limiter_v2": "keys have `rpm_limit` and `tpm_limit`",
    "dynamic_rate_limiter_v3": "keys have `rpm_limit` and `tpm_limit`",
    "parallel_request_limiter": "keys have `max_parallel_requests`",
}


class Callback(NamedTuple):
    """The variables of a callback, and the import name of the package that it needs besides LiteLLM."""

    variables: tuple[str, ...]
    package: str | None = None


_OTEL = "opentelemetry.sdk"
_LANGFUSE = ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY", "LANGFUSE_HOST", "LANGFUSE_TRACING_ENVIRONMENT")
_DATADOG = (
    "DD_API_KEY",
    "DD_SITE",
    "DD_ENV",
    "DD_SERVICE",
    "DD_SOURCE",
    "DD_VERSION",
    "LITELLM_DD_AGENT_HOST",
    "LITELLM_DD_AGENT_PORT",
)
_ARIZE = ("ARIZE_API_KEY", "ARIZE_SPACE_ID", "ARIZE_SPACE_KEY", "ARIZE_ENDPOINT", "ARIZE_PROJECT_NAME")

CALLBACKS: Mapping[str, Callback] = {
    "arize": Callback((*_ARIZE, "ARIZE_HTTP_ENDPOINT"), _OTEL),
    "arize_phoenix": Callback(
        (
            "PHOENIX_API_KEY",
            "PHOENIX_COLLECTOR_ENDPOINT",
            "PHOENIX_COLLECTOR_HTTP_ENDPOINT",
            "PHOENIX_PROJECT_NAME",
        ),
        _OTEL,
    ),
    "athina": Callback(("ATHINA_API_KEY", "ATHINA_BASE_URL")),
    "braintrust": Callback(("BRAINTRUST_API_KEY", "BRAINTRUST_API_BASE")),
    "datadog": Callback(_DATADOG),
    "datadog_llm_observability": Callback((*_DATADOG, "LITELLM_DD_LLM_OBS_PORT")),
    "galileo": Callback(
        (
            "GALILEO_API_KEY",
            "GALILEO_BASE_URL",
            "GALILEO_LOG_STREAM_ID",
            "GALILEO_PASSWORD",
            "GALILEO_PROJECT_ID",
            "GALILEO_USERNAME",
        )
    ),
    "gcs_bucket": Callback(("GCS_BUCKET_NAME", "GCS_PATH_SERVICE_ACCOUNT", "GCS_BATCH_SIZE", "GCS_FLUSH_INTERVAL")),
    "generic_api": Callback(("GENERIC_LOGGER_ENDPOINT", "GENERIC_LOGGER_HEADERS")),
    "helicone": Callback(("HELICONE_API_KEY", "HELICONE_API_BASE")),
    "lago": Callback(("LAGO_API_BASE", "LAGO_API_CHARGE_BY", "LAGO_API_EVENT_CODE", "LAGO_API_KEY")),
    "langfuse": Callback((*_LANGFUSE, "LANGFUSE_BASE_URL", "LANGFUSE_FLUSH_INTERVAL"), "langfuse"),
    "langfuse_otel": Callback((*_LANGFUSE, "LANGFUSE_OTEL_HOST"), _OTEL),
    "langsmith": Callback(
        (
            "LANGSMITH_API_KEY",
            "LANGSMITH_BASE_URL",
            "LANGSMITH_BATCH_SIZE",
            "LANGSMITH_DEFAULT_RUN_NAME",
            "LANGSMITH_PROJECT",
            "LANGSMITH_SAMPLING_RATE",
            "LANGSMITH_TENANT_ID",
        )
    ),
    "literalai": Callback(("LITERAL_API_KEY", "LITERAL_API_URL", "LITERAL_BATCH_SIZE")),
    "logfire": Callback(("LOGFIRE_TOKEN",), "logfire"),
    "lunary": Callback(("LUNARY_PUBLIC_KEY",), "lunary"),
    "openmeter": Callback(("OPENMETER_API_ENDPOINT", "OPENMETER_API_KEY", "OPENMETER_EVENT_TYPE")),
    # In addition to the variables of our own traces, which are always passed on.
    "otel": Callback(("OTEL_EXPORTER", "OTEL_ENDPOINT", "OTEL_HEADERS", "OTEL_ENVIRONMENT_NAME"), _OTEL),
    "posthog": Callback(("POSTHOG_API_KEY", "POSTHOG_API_URL")),
    "sentry": Callback(("SENTRY_DSN", "SENTRY_ENVIRONMENT", "SENTRY_API_SAMPLE_RATE"), "sentry_sdk"),
}


def named(engine_settings: Mapping[str, Any]) -> list[str]:
    """The callbacks in the settings passed to the engine."""
    found: dict[str, None] = {}
    for setting in SETTINGS:
        found.update(dict.fromkeys(_names(engine_settings.get(setting))))
    return list(found)


def variables(callbacks: Iterable[str]) -> set[str]:
    """The variables that the callbacks may read, as far as known."""
    return {name for callback in callbacks if callback in CALLBACKS for name in CALLBACKS[callback].variables}


def kept(document: Document, path: KeyPath, value: Any) -> Any:
    """The callbacks that the engine calls, in the form of `value`. Reports callbacks that would silently fail."""
    names = [name for name in _names(value) if _usable(document, path, name)]
    others = [one for one in (value if isinstance(value, list) else [value]) if not isinstance(one, str)]
    return (names + [one for one in others if one]) or None


def check_module(document: Document, path: KeyPath, name: Any) -> bool:
    """Whether the module of a custom callback, `module.function`, is importable or next to the config file, as LiteLLM
    requires.
    """
    if not isinstance(name, str) or "." not in name or "://" in name:
        return True
    module = name.split(".")[0]
    if _is_there(module) or any((document.folder / found).exists() for found in (f"{module}.py", module)):
        return True
    document.error(path, f"'{name}': {module}.py was not found next to the config file.", "Add it there.")
    return False


def modules(callbacks: Iterable[str]) -> list[str]:
    """The module names in `module.function` callbacks."""
    return list(dict.fromkeys(name.split(".")[0] for name in callbacks if "." in name and "://" not in name))


def _usable(document: Document, path: KeyPath, name: str) -> bool:
    known = CALLBACKS.get(name)
    if name in _OURS:
        document.report("note", path, f"'{name}' does nothing here: {_OURS[name]}.")
        return False
    if known is not None and known.package and not _is_there(known.package):
        package = known.package.partition(".")[0].replace("_", "-")
        message = f"'{name}' needs the package {package}, which is not installed; the callback is left out."
        document.report("warning", path, message, "Install it.")
        return False
    if known is None:
        document.report("note", path, f"which variables '{name}' reads is not known: at the edge it gets none.")
    return check_module(document, path, name)


def _names(value: Any) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ModuleNotFoundError, ValueError):  # the parent package does not exist
        return False
