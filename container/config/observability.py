"""Where requests are recorded: OpenTelemetry's environment variables, `general_settings.request_logging`, and LiteLLM's
callbacks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from . import option_values as read
from .document import Document, KeyPath, did_you_mean

SERVICE = "litellm-router"
_DEFAULT_BASE = "http://localhost:4318"
_PATH = "/v1/traces"
# Each setting exists for all signals and for traces alone. The latter takes precedence.
OTLP = "OTEL_EXPORTER_OTLP_"
OTLP_TRACES = "OTEL_EXPORTER_OTLP_TRACES_"


class Sampler(NamedTuple):
    """How requests are sampled.

    If `parent` is true, a trace context sent by the client decides. `ratio` is the share of all other requests that is
    traced.
    """

    parent: bool
    ratio: float


# None means that OTEL_TRACES_SAMPLER_ARG gives the ratio.
SAMPLERS: Mapping[str, tuple[bool, float | None]] = {
    "always_on": (False, 1.0),
    "always_off": (False, 0.0),
    "traceidratio": (False, None),
    "parentbased_always_on": (True, 1.0),
    "parentbased_always_off": (True, 0.0),
    "parentbased_traceidratio": (True, None),
}


@dataclass(frozen=True, slots=True)
class Tracing:
    """Settings of the trace exporter.

    `endpoint` is the full URL. `resource` contains the attributes of this service. `certificate` is a file of trusted
    CA certificates. Times are in seconds. `queue` and `batch` count spans.
    """

    endpoint: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    resource: Mapping[str, str]
    sampler: Sampler
    timeout: float
    gzip: bool
    certificate: str | None
    delay: float
    queue: int
    batch: int


def tracing(values: Mapping[str, Any]) -> Tracing | None:
    """The trace settings from the parsed variables, or None if tracing is not configured."""
    exporter = values["OTEL_TRACES_EXPORTER"]
    base, whole = values[OTLP + "ENDPOINT"], values[OTLP_TRACES + "ENDPOINT"]
    if values["OTEL_SDK_DISABLED"] or exporter == "none" or not (exporter or base or whole):
        return None

    def said(name: str) -> Any:
        own = values[OTLP_TRACES + name]
        return values[OTLP + name] if own is None else own

    parent, ratio = SAMPLERS[values["OTEL_TRACES_SAMPLER"]]
    resource = {"service.name": SERVICE, **values["OTEL_RESOURCE_ATTRIBUTES"]}
    if values["OTEL_SERVICE_NAME"]:
        resource["service.name"] = values["OTEL_SERVICE_NAME"]
    queue = values["OTEL_BSP_MAX_QUEUE_SIZE"]
    return Tracing(
        endpoint=whole or (base or _DEFAULT_BASE).rstrip("/") + _PATH,
        headers=said("HEADERS") or {},
        resource=resource,
        sampler=Sampler(parent, values["OTEL_TRACES_SAMPLER_ARG"] if ratio is None else ratio),
        timeout=(said("TIMEOUT") or 10_000) / 1000,
        gzip=said("COMPRESSION") == "gzip",
        certificate=said("CERTIFICATE"),
        delay=values["OTEL_BSP_SCHEDULE_DELAY"] / 1000,
        queue=queue,
        batch=min(values["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"], queue),
    )


def pairs(text: str) -> dict[str, str]:
    """Parses `name=value,other=value`, percent-encoded. Raises ValueError without quoting the text, which may contain
    secrets.
    """
    found: dict[str, str] = {}
    for part in filter(str.strip, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise ValueError("write name=value pairs separated by commas, and a comma within a value as %2C")
        found[unquote(name.strip())] = unquote(value.strip())
    return found


def headers(text: str) -> dict[str, str]:
    """Parses pairs and checks that they are valid headers. Raises ValueError."""
    found = pairs(text)
    if not all(text.isascii() and text.isprintable() for pair in found.items() for text in pair):
        raise ValueError("write headers of printable ASCII characters")
    return {name.lower(): value for name, value in found.items()}


def collector(text: str) -> str:
    """Validates a collector address, which must not contain credentials. Raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write an http(s) address")
    if "@" in parts.netloc:
        raise ValueError("write the address without credentials, and put them into OTEL_EXPORTER_OTLP_HEADERS")
    return text


DEFAULT_BYTES = 64 * 1024
MOST_BYTES = 16 * 1024 * 1024
_NAMES = ("contents", "redact", "file", "max_bytes")
_THERE_ARE = f"There are: {', '.join(_NAMES)}."


@dataclass(frozen=True, slots=True)
class RequestLogging:
    """Settings of the request log.

    With `contents`, request and response bodies are logged. `file` defaults to the general log. `max_bytes` applies to
    each body.
    """

    contents: bool = False
    file: str | None = None
    max_bytes: int = DEFAULT_BYTES


def request_logging(document: Document, path: KeyPath, value: Any) -> RequestLogging | None:
    """Parses the setting. None if it is off or invalid, which is reported."""
    if value is None:
        return None
    if not isinstance(value, dict):
        return RequestLogging() if read.flag(document, path, value, strict=True) else None
    for name in value.keys() - set(_NAMES):
        document.error((*path, name), "is not known.", did_you_mean(str(name), _NAMES, _THERE_ARE))
    contents = "contents" in value and read.flag(document, (*path, "contents"), value["contents"], strict=True)
    if "redact" in value:  # the inverse of `contents`
        redact = read.flag(document, (*path, "redact"), value["redact"], strict=True)
        if "contents" in value and contents == redact:
            document.error((*path, "redact"), "contradicts 'contents'.", "Write one of them.")
        contents = not redact
    file, most = value.get("file"), value.get("max_bytes", DEFAULT_BYTES)
    if file is not None and (not isinstance(file, str) or not file):
        document.error((*path, "file"), "has to be a path.")
    if isinstance(most, bool) or not isinstance(most, int) or not 0 < most <= MOST_BYTES:
        document.error((*path, "max_bytes"), f"has to be a whole number of bytes from 1 to {MOST_BYTES}.")
    if contents:
        document.report("warning", path, "logs the contents of requests and responses.")
    return RequestLogging(contents, file, most)


# LiteLLM's callbacks: the environment variables that each reads and the package that it needs. The edge passes these
# variables to its container. A callback whose package is missing is left out, because LiteLLM would silently run
# without it or install it at startup. Names and variables are LiteLLM's (https://docs.litellm.ai/docs/proxy/logging,
# litellm/integrations/).

CALLBACK_SETTINGS = ("callbacks", "success_callback", "failure_callback")
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


def named_callbacks(engine_settings: Mapping[str, Any]) -> list[str]:
    """The callbacks in the settings passed to the engine."""
    found: dict[str, None] = {}
    for setting in CALLBACK_SETTINGS:
        found.update(dict.fromkeys(_names(engine_settings.get(setting))))
    return list(found)


def callback_variables(callbacks: Iterable[str]) -> set[str]:
    """The variables that the callbacks may read, as far as known."""
    return {name for callback in callbacks if callback in CALLBACKS for name in CALLBACKS[callback].variables}


def usable_callbacks(document: Document, path: KeyPath, value: Any) -> Any:
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


def callback_modules(callbacks: Iterable[str]) -> list[str]:
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
