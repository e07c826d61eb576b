"""Parses OpenTelemetry's environment variables and `general_settings.request_logging`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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


def parse(document: Document, path: KeyPath, value: Any) -> RequestLogging | None:
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
