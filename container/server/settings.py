"""The environment variables that the proxy reads: one table with their defaults and parsers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from worker.core.api.headers import is_origin, parse_origins
from worker.core.log_text import FORMATS
from worker.core.protocol import PROTOCOL_VARIABLE
from worker.core.shared_settings import SALT_KEY, SEAL_VARIABLE, SHARED, address, flag, number, seal_secret, whole
from worker.core.sign_in import settings as sign_in

from ..config import observability as otel
from ..http_client.request import Proxies, exemptions, proxies, proxy

Network = IPv4Network | IPv6Network
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def level(text: str) -> str:
    if text.upper() not in _LEVELS:
        raise ValueError("write DEBUG, INFO, WARNING or ERROR")
    return text.upper()


def one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"write {', '.join(words[:-1])} or {words[-1]}" if words[1:] else f"write {words[0]}")
        return text

    return parse


def redis_address(text: str) -> str:
    what = "redis://[user:password@]host[:port][/database], rediss://… or unix:///path"
    return text if text.startswith("unix:///") else address(text, ("redis", "rediss"), what)


def postgres_address(text: str) -> str:
    """Any address that libpq accepts, including several hosts or a socket directory in the query."""
    if not text.startswith(("postgres://", "postgresql://")):
        raise ValueError("write postgresql://user:password@host[:port]/database")
    return text


def networks(text: str) -> tuple[Network, ...]:
    """Parse `10.0.0.0/8, fd00::/8, 192.0.2.1`."""
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError("write addresses or networks such as 10.0.0.0/8, separated by commas") from None


def origins(text: str) -> tuple[str, ...]:
    """Parse `https://a.example, https://b.example`, or `*`."""
    found = parse_origins(text)
    strange = next((origin for origin in found if not is_origin(origin)), None)
    if strange is not None or not found:
        raise ValueError(f"'{strange}' is not an origin: write https://host or *, separated by commas")
    return found


def public_keys(text: str) -> str:
    """Check PEM texts."""
    from worker.core.identity import jwt  # most configurations have none

    try:
        jwt.from_pem(text)
    except ValueError as error:
        raise ValueError(f"it {error}") from None
    return text


AUTO = "auto"
MOST_WORKERS = 256


def workers(text: str) -> str:
    if text == AUTO or (text.isascii() and text.isdecimal() and 1 <= int(text[:4]) <= MOST_WORKERS and len(text) < 4):
        return text
    raise ValueError(f"write a number from 1 to {MOST_WORKERS}, or {AUTO}")


_seconds = number("a number of seconds over 0", 0, 1e7)
_port = whole("a port from 0 to 65535", 0, 65535)
_megabytes = number("megabytes, a number over 0 and at most 1024", 0, 1024)
_milliseconds = whole("a whole number of milliseconds over 0", 1, 86_400_000)
_spans = whole("a whole number of spans from 1 to 1000000", 1, 1_000_000)
_share = number("a number from 0 to 1", 0, 1, above=False)


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable.

    `edge`: the Worker passes it on to its container. `secret`: its value must not be shown.
    """

    name: str
    parse: Callable[[str], Any]
    default: Any
    meaning: str
    edge: bool = True
    secret: bool = False


def _shared(name: str, meaning: str, *, edge: bool = True) -> Variable:
    """A variable that the Worker reads, too."""
    parse, default, secret = SHARED[name]
    return Variable(name, parse, default, meaning, edge, secret)


VARIABLES: tuple[Variable, ...] = (
    Variable("LITELLM_HOST", str, "127.0.0.1", "address to listen on; `::` for all, including IPv4", edge=False),
    Variable("LITELLM_PORT", _port, None, "port to listen on, takes precedence over PORT", edge=False),
    Variable("PORT", _port, 4000, "port to listen on", edge=False),
    Variable("NUM_WORKERS", workers, "1", "processes that serve the port, or auto: one a core", edge=False),
    _shared("LITELLM_MASTER_KEY", "the key with full access", edge=False),
    _shared(SALT_KEY, "protects response ids and kept responses, else the master key does", edge=False),
    Variable(SEAL_VARIABLE, str, None, "set by the edge: protects response ids", edge=False, secret=True),
    Variable("INTERNAL_TOKEN", str, None, "set by the edge: requests must carry it", edge=False, secret=True),
    Variable(
        PROTOCOL_VARIABLE, whole("a number over 0", 1, 1000), 1, "set by the edge: its protocol version", edge=False
    ),
    Variable("LITELLM_LOG_LEVEL", level, "INFO", "DEBUG, INFO, WARNING or ERROR"),
    Variable("LITELLM_LOG_FORMAT", one_of(*FORMATS), None, "json or text; else `log_format` in the config, else json"),
    _shared("MAX_BODY_MB", "largest request body, in MB"),
    Variable("UPLOAD_MEMORY_MB", _megabytes, 128.0, "behind the edge: memory budget of large uploads, in MB"),
    Variable("STREAM_KEEPALIVE", _seconds, 5.0, "seconds of silence in a stream before a comment line is sent"),
    Variable("ENGINE_START_TIMEOUT", _seconds, 60.0, "seconds a request waits for the engine to start"),
    Variable("SHUTDOWN_GRACE", _seconds, 30.0, "seconds that running requests may take after SIGTERM"),
    Variable("WATCHDOG_SECONDS", _seconds, 60.0, "seconds of a hung event loop after which the process exits"),
    Variable("CONNECT_TIMEOUT", _seconds, 5.0, "seconds that connecting to a provider may take"),
    *(
        Variable(name, parse, default, meaning, edge=False, secret=secret)
        for upper, parse, default, secret, meaning in (
            ("HTTPS_PROXY", proxy, None, True, "HTTP proxy for providers with https addresses"),
            ("HTTP_PROXY", proxy, None, True, "HTTP proxy for providers with http addresses"),
            ("NO_PROXY", exemptions, (), False, "names, addresses and networks that need no proxy"),
        )
        for name in (upper.lower(), upper)
    ),
    Variable("CONFIG_WATCH", flag, True, "whether to reload a changed config file; SIGHUP always does", edge=False),
    Variable("LEDGER_PATH", str, None, "SQLite file for keys and spend, else .litellm-router/ledger.db", edge=False),
    Variable(
        "DATABASE_URL",
        postgres_address,
        None,
        "PostgreSQL for keys and spend, instead of the file",
        edge=False,
        secret=True,
    ),
    _shared("DEFAULT_MAX_OUTPUT", "highest output limit for requests without one, under a budget; else the model's"),
    _shared("MIN_OUTPUT", "lowest output limit to which a request is lowered to fit its budget"),
    _shared("BUDGET_PATIENCE", "seconds that a request waits for running ones to leave it a budget", edge=False),
    _shared("SPEND_LOG_RETENTION_DAYS", "days that the spend log is kept; else forever", edge=False),
    Variable(
        "RESPONSES_KEPT_DAYS",
        number("a number of days, 0 keeps nothing", 0, 36500, above=False),
        30.0,
        "days that responses are kept for providers that store none; 0: not at all",
        edge=False,
    ),
    Variable("RESPONSES_KEPT_MB", _megabytes, 64.0, "most that is kept of each key's responses, in MB", edge=False),
    _shared("ALERT_WEBHOOK_URL", "receives alerts as JSON", edge=False),
    _shared("SLACK_WEBHOOK_URL", "a webhook of Slack or Discord for alerts, with `alerting: [slack]`", edge=False),
    _shared("JWT_PUBLIC_KEY_URL", "where the keys of JWTs are: key sets, separated by commas", edge=False),
    Variable("JWT_PUBLIC_KEY", public_keys, None, "keys of JWTs, in PEM", edge=False),
    _shared("JWT_AUDIENCE", "the `aud` of JWTs for this gateway", edge=False),
    _shared("JWT_ISSUER", "the `iss` of JWTs", edge=False),
    _shared("JWT_LEEWAY", "seconds that the clocks of a JWT's issuer and of this gateway may differ", edge=False),
    Variable(
        "REDIS_URL",
        redis_address,
        None,
        "Redis for cooldowns shared by replicas",
        edge=False,
        secret=True,
    ),
    Variable("REDIS_HOST", str, None, "Redis host, without a REDIS_URL", edge=False),
    Variable("REDIS_PORT", _port, 6379, "port of REDIS_HOST", edge=False),
    Variable("REDIS_USERNAME", str, None, "user at REDIS_HOST", edge=False),
    Variable("REDIS_PASSWORD", str, None, "password at REDIS_HOST", edge=False, secret=True),
    Variable("CORS_ALLOW_ORIGINS", origins, None, "origins of browser clients, or `*`", edge=False),
    _shared("FAILED_KEYS_PER_MINUTE", "wrong keys that an address may send before it gets 429", edge=False),
    Variable(
        "TRUSTED_PROXIES", networks, (), "proxies whose X-Forwarded-For is trusted: addresses, networks", edge=False
    ),
    *(
        Variable(name, one.parse, one.default, meaning, edge=False, secret=one.secret)
        for name, (one, meaning) in sign_in.VARIABLES.items()
    ),
    Variable("METRICS_PUBLIC", flag, False, "whether /metrics is public", edge=False),
    _shared("PUBLIC_MODELS", "whether /v1/models is public", edge=False),
    _shared("LOCAL_DEVELOPMENT", "a developer's machine: accepts the key sk-1234", edge=False),
    Variable("ALLOW_ANONYMOUS", flag, False, "serve without keys on an address that is not loopback", edge=False),
    Variable("OTEL_SDK_DISABLED", flag, False, "disables traces, whatever else is set"),
    Variable("OTEL_TRACES_EXPORTER", one_of("otlp", "none"), None, "otlp: sends traces to the default address"),
    Variable("OTEL_SERVICE_NAME", str, None, "name of this service in traces, else litellm-router"),
    Variable("OTEL_RESOURCE_ATTRIBUTES", otel.pairs, {}, "attributes of this service in traces: name=value,name=value"),
    Variable("OTEL_TRACES_SAMPLER", one_of(*otel.SAMPLERS), "parentbased_always_on", "which requests are traced"),
    Variable("OTEL_TRACES_SAMPLER_ARG", _share, 1.0, "sampling ratio of traceidratio"),
    Variable("OTEL_BSP_SCHEDULE_DELAY", _milliseconds, 5000, "milliseconds between exports of spans"),
    Variable("OTEL_BSP_MAX_QUEUE_SIZE", _spans, 2048, "maximum number of queued spans; more are dropped"),
    Variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _spans, 512, "maximum number of spans per export"),
    *(
        Variable(prefix + name, parse, None, f"{meaning}{of}", secret=secret)
        for prefix, of in ((otel.OTLP, ""), (otel.OTLP_TRACES, ", for traces only"))
        for name, parse, meaning, secret in (
            ("ENDPOINT", otel.collector, "address of the collector (OTLP over HTTP)", True),
            ("PROTOCOL", one_of("http/protobuf"), "the protocol; only this one is supported", False),
            ("HEADERS", otel.headers, "headers sent with traces: name=value,name=value", True),
            ("TIMEOUT", _milliseconds, "milliseconds that an export may take", False),
            ("COMPRESSION", one_of("gzip", "none"), "gzip or none", False),
            ("CERTIFICATE", str, "file with trusted certificates", False),
        )
    ),
)


class SettingsError(Exception):
    """Variables with invalid values. Each of the `problems` says what to write instead."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings from the environment, see `VARIABLES`. Times are in seconds."""

    host: str
    port: int
    workers: str
    log_level: str
    log_format: str | None
    max_body_mb: float
    upload_memory_mb: float
    stream_keepalive: float
    engine_start_timeout: float
    shutdown_grace: float
    watchdog_seconds: float
    connect_timeout: float
    config_watch: bool
    cors_allow_origins: tuple[str, ...] | None
    failed_keys_per_minute: int
    trusted_proxies: tuple[Network, ...]
    metrics_public: bool
    public_models: bool | None
    local_development: bool
    allow_anonymous: bool
    ledger_path: str | None
    default_max_output: int | None
    min_output: int
    budget_patience: float
    jwt_leeway: float
    spend_log_retention_days: float | None
    responses_kept_days: float
    responses_kept_mb: float
    tracing: otel.Tracing | None
    proxies: Proxies | None
    sign_in: sign_in.SignInSettings | None
    database_url: str | None = field(repr=False)
    alert_webhook_url: str | None = field(repr=False)
    slack_webhook_url: str | None = field(repr=False)
    master_key: str | None = field(repr=False)
    internal_token: str | None = field(repr=False)
    internal_protocol: int
    salt_key: str | None = field(repr=False)
    seal: str | None = field(repr=False)

    def seal_secret(self, configured_master_key: str | None) -> str | None:
        """The secret that protects response ids. `configured_master_key`: the config's, used without our own."""
        return self.seal or seal_secret(self.salt_key, self.master_key or configured_master_key)


def read(environment: Mapping[str, str]) -> Settings:
    """Raises SettingsError, which names every variable with an invalid value."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for variable in VARIABLES:
        text = environment.get(variable.name, "").strip()
        try:
            values[variable.name] = variable.parse(text) if text else variable.default
        except ValueError as error:
            shown = variable.name if variable.secret else f"{variable.name}={text!r}"
            problems.append(f"{shown} cannot be used: {error}.")
    signing_in = None
    try:
        signing_in = None if problems else sign_in.settings_of(values.get)
    except ValueError as error:
        problems.append(f"{error}.")
    if problems:
        raise SettingsError(problems)
    return Settings(
        host=values["LITELLM_HOST"],
        port=values["PORT"] if values["LITELLM_PORT"] is None else values["LITELLM_PORT"],
        workers=values["NUM_WORKERS"],
        log_level=values["LITELLM_LOG_LEVEL"],
        log_format=values["LITELLM_LOG_FORMAT"],
        max_body_mb=values["MAX_BODY_MB"],
        upload_memory_mb=values["UPLOAD_MEMORY_MB"],
        stream_keepalive=values["STREAM_KEEPALIVE"],
        engine_start_timeout=values["ENGINE_START_TIMEOUT"],
        shutdown_grace=values["SHUTDOWN_GRACE"],
        watchdog_seconds=values["WATCHDOG_SECONDS"],
        connect_timeout=values["CONNECT_TIMEOUT"],
        config_watch=values["CONFIG_WATCH"],
        cors_allow_origins=values["CORS_ALLOW_ORIGINS"],
        failed_keys_per_minute=values["FAILED_KEYS_PER_MINUTE"],
        trusted_proxies=values["TRUSTED_PROXIES"],
        metrics_public=values["METRICS_PUBLIC"],
        public_models=values["PUBLIC_MODELS"],
        local_development=values["LOCAL_DEVELOPMENT"],
        allow_anonymous=values["ALLOW_ANONYMOUS"],
        ledger_path=values["LEDGER_PATH"],
        default_max_output=values["DEFAULT_MAX_OUTPUT"],
        min_output=values["MIN_OUTPUT"],
        budget_patience=values["BUDGET_PATIENCE"],
        jwt_leeway=values["JWT_LEEWAY"],
        spend_log_retention_days=values["SPEND_LOG_RETENTION_DAYS"],
        tracing=otel.tracing(values),
        proxies=proxies(
            values["http_proxy"] or values["HTTP_PROXY"],
            values["https_proxy"] or values["HTTPS_PROXY"],
            values["no_proxy"] or values["NO_PROXY"],
        ),
        sign_in=signing_in,
        responses_kept_days=values["RESPONSES_KEPT_DAYS"],
        responses_kept_mb=values["RESPONSES_KEPT_MB"],
        database_url=values["DATABASE_URL"],
        alert_webhook_url=values["ALERT_WEBHOOK_URL"],
        slack_webhook_url=values["SLACK_WEBHOOK_URL"],
        master_key=values["LITELLM_MASTER_KEY"],
        internal_token=values["INTERNAL_TOKEN"],
        internal_protocol=values[PROTOCOL_VARIABLE],
        salt_key=values[SALT_KEY],
        seal=values[SEAL_VARIABLE],
    )
