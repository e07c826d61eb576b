"""`router_settings`, `litellm_settings`, `general_settings`: each is implemented, the engine's, or stops the start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.ledger import money, periods
from worker.ledger.accounts import Limits
from worker.ledger.policy import Policy

from .document import Document, KeyPath

STRATEGIES = (
    "simple-shuffle",
    "latency-based-routing",
    "least-busy",
    "usage-based-routing-v2",
    "cost-based-routing",
)
RETRY_POLICY_CLASSES = (
    "AuthenticationErrorRetries",
    "TimeoutErrorRetries",
    "RateLimitErrorRetries",
    "ContentPolicyViolationErrorRetries",
    "BadRequestErrorRetries",
    "InternalServerErrorRetries",
)

# Settings of LiteLLM that need nothing here, with the reason.
_HARMLESS = {
    "set_verbose": "use LITELLM_LOG_LEVEL",
    "json_logs": "logs are JSON lines always",
    "telemetry": "there is none",
    "turn_off_message_logging": "messages are never logged",
    "suppress_debug_info": "there is none",
    "cancel_on_disconnect": "providers are always cancelled when a client leaves",
    "enable_pre_call_checks": "deployments that are off are always skipped",
    "proxy_batch_write_at": "nothing is written in batches",
    "background_health_checks": "health is learnt from requests",
    "disable_spend_logs": "the ledger needs them",
    "store_model_in_db": "models are the config's",
    "disable_prisma_schema_update": "there is no Prisma here",
}
# Settings of LiteLLM that only LiteLLM can honour: they send every model group through the engine.
_ENGINE = (
    "callbacks",
    "success_callback",
    "failure_callback",
    "service_callback",
    "cache",
    "cache_params",
    "guardrails",
    "modify_params",
    "model_alias_map",
    "redact_user_api_key_info",
    "langfuse_default_tags",
    "ssl_verify",
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the settings say. Times in seconds; chains as {group: (groups to try next, …)}; `"*"` in `fallbacks`
    for every group without a chain of its own. Budgets in nano-dollars."""

    routing_strategy: str = "simple-shuffle"
    latency_ttl: float = 3600.0
    lowest_latency_buffer: float = 0.0
    num_retries: int = 2
    timeout: float = 600.0
    stream_timeout: float | None = None
    allowed_fails: int = 3
    cooldown_time: float = 5.0
    disable_cooldowns: bool = False
    retry_after: float = 0.0
    retry_policy: Mapping[str, int] = field(default_factory=dict)
    max_fallbacks: int = 5
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    context_window_fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    content_policy_fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    model_group_alias: Mapping[str, str] = field(default_factory=dict)
    drop_params: bool = False
    allowed_origins: tuple[str, ...] = ()
    max_budget: int | None = None
    soft_budget: int | None = None
    budget_duration: str | None = None
    max_user_budget: int | None = None
    user_budget_duration: str | None = None
    master_key: str | None = field(default=None, repr=False)
    engine_settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def policy(self) -> Policy:
        """The budgets that hold for everyone and for each user."""
        return Policy(
            everyone=Limits(self.max_budget, self.soft_budget, self.budget_duration),
            each_user=Limits(self.max_user_budget, None, self.user_budget_duration),
        )

    @property
    def has_budget(self) -> bool:
        """Whether the file sets a budget; keys may have budgets of their own."""
        return self.max_budget is not None or self.max_user_budget is not None

    @property
    def engine_reason(self) -> str | None:
        """The setting that sends every group through the engine, if there is one."""
        return next(iter(self.engine_settings), None)


def parse(document: Document, groups: tuple[str, ...], environment: Mapping[str, str]) -> Options:
    """Reads the three sections; problems are reported to `document`. `groups`: the public model names."""
    reader = _Sections(document, environment)
    values: dict[str, Any] = {}
    engine: dict[str, Any] = {}
    for section, path, name, value in reader.settings():
        if name == "model_group_alias" and section != "general_settings":
            values[name] = _aliases(document, path, value, groups)
        elif name in _CHAINS and section != "general_settings":
            values[name] = {**values.get(name, {}), **_chains(document, path, value, groups)}
        elif name == "default_fallbacks" and section != "general_settings":
            names = _group_names(document, path, value, groups)
            values["fallbacks"] = {"*": names, **values.get("fallbacks", {})}
        elif name in _PLAIN and name not in ("latency_ttl", "lowest_latency_buffer") and section != "general_settings":
            _plain(document, path, name, value, values)
        elif name == "request_timeout" and section == "litellm_settings":
            _plain(document, path, "timeout", value, values)
        elif name == "drop_params" and section == "litellm_settings":
            values[name] = _flag(document, path, value)
            engine_drop = values[name]
            document_note = "fields that a provider calls unsupported are left out"
            if engine_drop:
                document.report("note", path, document_note + ".")
        elif name == "master_key" and section == "general_settings":
            values[name] = str(value) if value else None
        elif name in ("allowed_origins", "cors_allow_origins") and section == "general_settings":
            values["allowed_origins"] = _texts(document, path, value)
        elif name == "routing_strategy_args" and section == "router_settings":
            _strategy_arguments(document, path, value, values)
        elif name in _ENGINE and section == "litellm_settings":
            if value not in (None, False, [], {}):
                engine[name] = value
                document.report("note", path, "is LiteLLM's, so every model goes through the engine.")
        elif name in _HARMLESS:
            document.report("note", path, f"does nothing here: {_HARMLESS[name]}.")
        elif name in _BUDGETS and section == "litellm_settings":
            values[name] = _budget(document, path, value)
        elif name in _DURATIONS and section == "litellm_settings":
            values[name] = _duration(document, path, value)
        elif name in ("virtual_keys", "request_logging"):
            document.error(path, "is not enforced by this version, which will not pretend to.", "Remove it.")
        elif name == "database_url":
            document.error(path, "is not read from this file.", "Set DATABASE_URL.")
        else:
            document.error(path, f"is not a setting that this gateway knows in {section}.", "Remove it.")
    _budgets_fit(document, values)
    return Options(**values, engine_settings=engine)


_PLAIN: dict[str, type] = {
    "routing_strategy": str,
    "latency_ttl": float,
    "lowest_latency_buffer": float,
    "num_retries": int,
    "timeout": float,
    "stream_timeout": float,
    "allowed_fails": int,
    "cooldown_time": float,
    "disable_cooldowns": bool,
    "retry_after": float,
    "retry_policy": dict,
    "max_fallbacks": int,
}
_BUDGETS = ("max_budget", "soft_budget", "max_user_budget")
_DURATIONS = {"budget_duration": "max_budget", "user_budget_duration": "max_user_budget"}
_CHAINS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")


class _Sections:
    """Walks the three sections, references to the environment replaced."""

    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self.document, self.environment = document, environment

    def settings(self):
        for section in ("router_settings", "litellm_settings", "general_settings"):
            content = self.document.data.get(section)
            if content is None:
                continue
            if not isinstance(content, dict):
                self.document.error((section,), "has to be a mapping.")
                continue
            for name, value in content.items():
                if isinstance(value, str) and value.startswith("os.environ/"):
                    value = self.environment.get(value[len("os.environ/") :]) or None
                yield section, (section, name), name, value


def _plain(document: Document, path: KeyPath, name: str, value: Any, values: dict[str, Any]) -> None:
    kind = _PLAIN[name]
    if value is None:
        return
    if kind is bool:
        values[name] = _flag(document, path, value)
    elif kind is str:
        if value not in STRATEGIES:
            document.error(
                path, f"'{value}' is not a strategy of this version.", f"There are: {', '.join(STRATEGIES)}."
            )
        values[name] = str(value)
    elif kind is dict:
        values[name] = _retry_policy(document, path, value)
    else:
        try:
            number = kind(value)
        except (TypeError, ValueError, OverflowError):
            number = -1
        if isinstance(value, bool) or not 0 <= number < 1e9 or (kind is int and number != float(value)):
            document.error(path, f"has to be a {'whole ' if kind is int else ''}number from 0 on, not {value!r}.")
        else:
            values[name] = number


def _strategy_arguments(document: Document, path: KeyPath, value: Any, values: dict[str, Any]) -> None:
    known = {"ttl": "latency_ttl", "lowest_latency_buffer": "lowest_latency_buffer"}
    if not isinstance(value, dict):
        document.error(path, "has to be a mapping.")
        return
    for name, argument in value.items():
        if name in known:
            _plain(document, (*path, name), known[name], argument, values)
        else:
            document.error((*path, name), "is not known.", f"There are: {', '.join(known)}.")


def _retry_policy(document: Document, path: KeyPath, value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        document.error(path, "has to be a mapping of error classes to numbers.")
        return {}
    for name, number in value.items():
        if name not in RETRY_POLICY_CLASSES or not isinstance(number, int) or number < 0:
            document.error(
                (*path, name), "is not known.", f"There are: {', '.join(RETRY_POLICY_CLASSES)}, each a number."
            )
    return {k: v for k, v in value.items() if isinstance(v, int)}


def _budget(document: Document, path: KeyPath, value: Any) -> int | None:
    """Nano-dollars; None where the setting is left blank."""
    if isinstance(value, str):  # from the environment
        try:
            value = float(value)
        except ValueError:
            pass
    if value is None:
        return None
    if not money.is_amount(value):
        document.error(path, f"has to be an amount of US dollars, not {value!r}.")
        return None
    return money.nano(value)


def _duration(document: Document, path: KeyPath, value: Any) -> str | None:
    if value is None:
        return None
    try:
        periods.parse(value if isinstance(value, str) else repr(value))
    except ValueError as error:
        document.error(path, f"cannot be used: {error}.")
        return None
    return str(value)


def _budgets_fit(document: Document, values: Mapping[str, Any]) -> None:
    """A duration without a budget, or a soft budget over it, would do nothing: say so."""
    for duration, budget in _DURATIONS.items():
        alone = values.get(budget) is None and not (budget == "max_budget" and values.get("soft_budget") is not None)
        if values.get(duration) is not None and alone:
            document.error(("litellm_settings", duration), f"has no use without {budget}.", "Set both or neither.")
    most, soft = values.get("max_budget"), values.get("soft_budget")
    if most is not None and soft is not None and soft > most:
        document.error(("litellm_settings", "soft_budget"), "is over max_budget.", "Choose less.")


def _flag(document: Document, path: KeyPath, value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        document.error(path, f"has to be true or false, not {value!r}.")
        return False
    return value


def _texts(document: Document, path: KeyPath, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        document.error(path, "has to be a list of texts.")
        return ()
    return tuple(v.strip().rstrip("/") for v in value if v.strip())


def _aliases(document: Document, path: KeyPath, value: Any, groups: tuple[str, ...]) -> dict[str, str]:
    aliases: dict[str, str] = {}
    if not isinstance(value, dict):
        document.error(path, "has to be a mapping of aliases to model names.")
        return aliases
    for alias, target in value.items():
        hidden = False
        if isinstance(target, dict):
            target, hidden = target.get("model"), target.get("hidden")
        if hidden:
            document.error(
                (*path, alias, "hidden"), "is not what this version can do: it lists every alias.", "Remove it."
            )
        elif target not in groups:
            document.error((*path, alias), f"'{target}' is not a model of this config.", _known(groups))
        elif alias in groups:
            document.error((*path, alias), "is the name of a model, too.", "Choose another.")
        else:
            aliases[alias] = target
    return aliases


def _chains(document: Document, path: KeyPath, value: Any, groups: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """`[{claude-sonnet: [gpt-4o, gemini-pro]}, …]` as {"claude-sonnet": ("gpt-4o", "gemini-pro")}."""
    chains: dict[str, tuple[str, ...]] = {}
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        document.error(path, "has to be a list such as `[{claude-sonnet: [gpt-4o]}]`.")
        return chains
    for index, entry in enumerate(value):
        for group, targets in entry.items():
            if group != "*":
                _group_names(document, (*path, index, group), [group], groups)
            chains[group] = _group_names(document, (*path, index, group), targets, groups)
    return chains


def _group_names(document: Document, path: KeyPath, value: Any, groups: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        document.error(path, "has to be a list of model names.")
        return ()
    for name in value:
        if name not in groups and not any("*" in g and name.startswith(g.split("*", 1)[0]) for g in groups):
            document.error(path, f"'{name}' is not a model of this config.", _known(groups))
    return tuple(value)


def _known(groups: tuple[str, ...]) -> str:
    return f"There are: {', '.join(groups)}."
