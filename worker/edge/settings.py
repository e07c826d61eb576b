"""Settings of the edge and the ledger object, from the Worker's variables."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from core.shared_settings import SHARED, Setting, public_models, whole

if TYPE_CHECKING:
    from core.sign_in.settings import SignInSettings

MAX_INSTANCES = 100
# https://developers.cloudflare.com/durable-objects/reference/data-location/#supported-locations-1
LOCATIONS = ("wnam", "enam", "sam", "weur", "eeur", "apac", "oc", "afr", "me")
_instances = whole(f"a whole number from 1 to {MAX_INSTANCES}", 1, MAX_INSTANCES)

Variable = Callable[[str], str | None]


class EdgeSettings(NamedTuple):
    """`cors_allow_origins`: None if the variable is not set; then the catalog's origins apply. `default_max_output`,
    `min_output`: in tokens. `location_hint`: where Durable Objects are created. `jwt_leeway`: in seconds. `sign_in`:
    None if nobody can sign in. `problems`: messages about invalid variables, for the log."""

    master_key: str
    local: bool
    public_models: bool
    cors_allow_origins: str | None
    max_body_mb: float
    instances: int
    failed_keys_per_minute: int
    default_max_output: int | None = None
    min_output: int = SHARED["MIN_OUTPUT"].default
    location_hint: str | None = None
    jwt_leeway: float = SHARED["JWT_LEEWAY"].default
    sign_in: "SignInSettings | None" = None
    problems: tuple[str, ...] = ()


class LedgerSettings(NamedTuple):
    """`retention_days`: None keeps the spend log forever. `alert_webhook_url`, `slack_webhook_url`: None sends no
    alerts there. `budget_patience`: in seconds, see `ledger.waiting_line`."""

    retention_days: float | None
    alert_webhook_url: str | None
    slack_webhook_url: str | None = None
    budget_patience: float = SHARED["BUDGET_PATIENCE"].default
    problems: tuple[str, ...] = ()


def read(variable: Variable) -> EdgeSettings:
    """Reads the Worker's variables and secrets. Empty values count as unset; invalid ones fall back to the default."""
    found = _Reader(variable)
    local = found.shared("LOCAL_DEVELOPMENT")
    return EdgeSettings(
        master_key=found.shared("LITELLM_MASTER_KEY") or "",
        local=local,
        public_models=public_models(found.shared("PUBLIC_MODELS"), local=local),
        cors_allow_origins=variable("CORS_ALLOW_ORIGINS") or None,
        max_body_mb=found.shared("MAX_BODY_MB"),
        instances=found.read("CONTAINER_INSTANCES", Setting(_instances, 1)),
        failed_keys_per_minute=found.shared("FAILED_KEYS_PER_MINUTE"),
        default_max_output=found.shared("DEFAULT_MAX_OUTPUT"),
        min_output=found.shared("MIN_OUTPUT"),
        location_hint=found.one_of("LOCATION_HINT", LOCATIONS),
        jwt_leeway=found.shared("JWT_LEEWAY"),
        sign_in=_sign_in(found) if variable("OIDC_ISSUER") or variable("GENERIC_CLIENT_ID") else None,
        problems=tuple(found.problems),
    )


def _sign_in(found: "_Reader") -> "SignInSettings | None":
    """Without valid settings nobody can sign in."""
    from core.sign_in import settings  # imported only if it is configured

    before = len(found.problems)
    values = {name: found.read(name, setting) for name, (setting, _) in settings.VARIABLES.items()}
    if len(found.problems) > before:
        return None
    try:
        return settings.settings_of(values.get)
    except ValueError as error:
        found.problems.append(f"{error}. Nobody can sign in.")
        return None


def read_ledger(variable: Variable) -> LedgerSettings:
    """Reads the settings of the ledger object."""
    found = _Reader(variable)
    days, url = found.shared("SPEND_LOG_RETENTION_DAYS"), found.shared("ALERT_WEBHOOK_URL")
    patience = found.shared("BUDGET_PATIENCE")
    return LedgerSettings(days, url, found.shared("SLACK_WEBHOOK_URL"), patience, tuple(found.problems))


class _Reader:
    def __init__(self, variable: Variable) -> None:
        self._variable = variable
        self.problems: list[str] = []

    def shared(self, name: str) -> Any:
        """Reads a setting that the proxy also has."""
        return self.read(name, SHARED[name])

    def read(self, name: str, setting: Setting) -> Any:
        text = (self._variable(name) or "").strip()
        if not text:
            return setting.default
        try:
            return setting.parse(text)
        except ValueError as error:
            shown = name if setting.secret else f"{name}={text!r}"
            default = "" if setting.default is None else f" Using {setting.default}."
            self.problems.append(f"{shown} cannot be used: {error}.{default}")
            return setting.default

    def one_of(self, name: str, values: tuple[str, ...]) -> str | None:
        text = (self._variable(name) or "").strip().lower()
        if text and text not in values:
            self.problems.append(f"{name} is {text!r}, which is none of {', '.join(values)}; it is ignored.")
            return None
        return text or None
