"""The Worker's variables as the edge understands them."""

from collections.abc import Callable
from dataclasses import dataclass

MAX_BODY_MB = 32.0
MAX_INSTANCES = 100
FAILED_KEYS_PER_MINUTE = 30
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """`cors_allow_origins` is None when the variable is not set, so that the catalog decides.

    `problems`: sentences about variables that were not understood, for the log.
    """

    master_key: str
    local: bool
    public_models: bool
    cors_allow_origins: str | None
    max_body_mb: float
    instances: int
    failed_keys_per_minute: int
    problems: tuple[str, ...] = ()


def read(variable: Callable[[str], str | None]) -> EdgeSettings:
    """Settings from the Worker's variables and secrets; set but empty means unset, nonsense means the default."""
    problems: list[str] = []

    def flag(name: str, default: bool) -> bool:
        text = (variable(name) or "").strip().lower()
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if text:
            problems.append(f"{name} is {text!r}, which is neither true nor false; using {str(default).lower()}.")
        return default

    def number(name: str, default: float, lowest: float, highest: float) -> float:
        text = (variable(name) or "").strip()
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if lowest <= value <= highest:
            return value
        problems.append(f"{name} is {text!r}, which is not a number from {lowest:g} to {highest:g}; using {default:g}.")
        return default

    local = flag("LOCAL_DEVELOPMENT", False)
    return EdgeSettings(
        master_key=variable("LITELLM_MASTER_KEY") or "",
        local=local,
        public_models=flag("PUBLIC_MODELS", local),
        cors_allow_origins=variable("CORS_ALLOW_ORIGINS") or None,
        max_body_mb=number("MAX_BODY_MB", MAX_BODY_MB, 0.001, 1000),
        instances=int(number("CONTAINER_INSTANCES", 1, 1, MAX_INSTANCES)),
        failed_keys_per_minute=int(number("FAILED_KEYS_PER_MINUTE", FAILED_KEYS_PER_MINUTE, 1, 1_000_000)),
        problems=tuple(problems),
    )
