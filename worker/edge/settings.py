"""The Worker's variables as the edge and its ledger understand them."""

from collections.abc import Callable
from dataclasses import dataclass

MAX_BODY_MB = 32.0
MAX_INSTANCES = 100
DEFAULT_MAX_OUTPUT = 4096
MOST_TOKENS = (1 << 31) - 1
MOST_DAYS = 36_500
FAILED_KEYS_PER_MINUTE = 30
# https://developers.cloudflare.com/durable-objects/reference/data-location/#supported-locations-1
LOCATIONS = ("wnam", "enam", "sam", "weur", "eeur", "apac", "oc", "afr", "me")
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")

Variable = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """`cors_allow_origins` is None when the variable is not set, so that the catalog decides. `default_max_output`:
    tokens. `location_hint`: where Durable Objects are made.

    `problems`: sentences about variables that were not understood, for the log.
    """

    master_key: str
    local: bool
    public_models: bool
    cors_allow_origins: str | None
    max_body_mb: float
    instances: int
    failed_keys_per_minute: int
    default_max_output: int = DEFAULT_MAX_OUTPUT
    location_hint: str | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """`retention_days`: None keeps the spend log for good. `alert_webhook_url`: None tells nobody."""

    retention_days: float | None
    alert_webhook_url: str | None
    problems: tuple[str, ...] = ()


def read(variable: Variable) -> EdgeSettings:
    """Settings from the Worker's variables and secrets; set but empty means unset, nonsense means the default."""
    found = _Reader(variable)
    local = found.flag("LOCAL_DEVELOPMENT", default=False)
    return EdgeSettings(
        master_key=variable("LITELLM_MASTER_KEY") or "",
        local=local,
        public_models=found.flag("PUBLIC_MODELS", default=local),
        cors_allow_origins=variable("CORS_ALLOW_ORIGINS") or None,
        max_body_mb=found.number("MAX_BODY_MB", MAX_BODY_MB, 0.001, 1000),
        instances=int(found.number("CONTAINER_INSTANCES", 1, 1, MAX_INSTANCES)),
        failed_keys_per_minute=int(found.number("FAILED_KEYS_PER_MINUTE", FAILED_KEYS_PER_MINUTE, 1, 1_000_000)),
        default_max_output=int(found.number("DEFAULT_MAX_OUTPUT", DEFAULT_MAX_OUTPUT, 1, MOST_TOKENS)),
        location_hint=found.one_of("LOCATION_HINT", LOCATIONS),
        problems=tuple(found.problems),
    )


def read_ledger(variable: Variable) -> LedgerSettings:
    """The same for the object that keeps the ledger."""
    found = _Reader(variable)
    days = found.number("SPEND_LOG_RETENTION_DAYS", 0, 0, MOST_DAYS)
    url = (variable("ALERT_WEBHOOK_URL") or "").strip() or None
    if url is not None and not url.startswith(("http://", "https://")):
        found.problems.append("ALERT_WEBHOOK_URL is not an http(s) address; nobody is told of budgets.")
        url = None
    return LedgerSettings(days or None, url, tuple(found.problems))


class _Reader:
    def __init__(self, variable: Variable) -> None:
        self._variable = variable
        self.problems: list[str] = []

    def flag(self, name: str, *, default: bool) -> bool:
        text = (self._variable(name) or "").strip().lower()
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if text:
            self.problems.append(f"{name} is {text!r}, which is neither true nor false; using {str(default).lower()}.")
        return default

    def one_of(self, name: str, values: tuple[str, ...]) -> str | None:
        text = (self._variable(name) or "").strip().lower()
        if text and text not in values:
            self.problems.append(f"{name} is {text!r}, which is none of {', '.join(values)}; it is left out.")
            return None
        return text or None

    def number(self, name: str, default: float, lowest: float, highest: float) -> float:
        text = (self._variable(name) or "").strip()
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if lowest <= value <= highest:
            return value
        self.problems.append(
            f"{name} is {text!r}, which is not a number from {lowest:g} to {highest:g}; using {default:g}."
        )
        return default
