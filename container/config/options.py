"""`router_settings`, `litellm_settings`, `general_settings`: each is implemented, the engine's, or stops the start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.ledger.accounts import Limits
from worker.ledger.policy import Policy
from worker.ledger.secret import hash_secret

from . import callbacks, request_logging, response_cache, virtual_keys
from . import option_values as read
from .document import REFERENCE, Document, KeyPath, references
from .request_logging import RequestLogging
from .response_cache import ResponseCache
from .suggest import did_you_mean
from .virtual_keys import VirtualKey

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
    *callbacks.SETTINGS,
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
    for every group without a chain of its own. Budgets in nano-dollars. `from_environment`: the settings whose values
    stand in variables; `variables`: those variables, and others that settings need in the proxy or its engine."""

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
    virtual_keys: tuple[VirtualKey, ...] = ()
    from_environment: tuple[str, ...] = ()
    variables: frozenset[str] = frozenset()
    request_logging: RequestLogging | None = None
    response_cache: ResponseCache | None = None
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
    def needs_ledger(self) -> bool:
        """Whether something in the file is kept in the ledger alone."""
        return self.has_budget or self.soft_budget is not None or bool(self.virtual_keys)

    @property
    def engine_reason(self) -> str | None:
        """The setting that sends every group through the engine, if there is one."""
        return next(iter(self.engine_settings), None)


def parse(document: Document, groups: tuple[str, ...], environment: Mapping[str, str]) -> Options:
    """Reads the three sections; problems are reported to `document`. `groups`: the public model names."""
    reader = _Sections(document, environment)
    values: dict[str, Any] = {}
    engine: dict[str, Any] = {}
    cache: dict[str, Any] = {}
    keys_at: tuple[KeyPath, Any] | None = None
    for section, path, name, value in reader.settings():
        if name == "model_group_alias" and section != "general_settings":
            values[name] = read.aliases(document, path, value, groups)
        elif name in _CHAINS and section != "general_settings":
            values[name] = {**values.get(name, {}), **read.chains(document, path, value, groups)}
        elif name == "default_fallbacks" and section != "general_settings":
            names = read.group_names(document, path, value, groups)
            values["fallbacks"] = {"*": names, **values.get("fallbacks", {})}
        elif name in _PLAIN and section != "general_settings":
            read.plain(document, path, name, value, values)
        elif name == "request_timeout" and section == "litellm_settings":
            read.plain(document, path, "timeout", value, values)
        elif name == "drop_params" and section == "litellm_settings":
            values[name] = read.flag(document, path, value)
            if values[name]:
                document.report("note", path, "fields that a provider calls unsupported are left out.")
        elif name == "master_key" and section == "general_settings":
            values[name] = str(value) if value else None
        elif name in ("allowed_origins", "cors_allow_origins") and section == "general_settings":
            values["allowed_origins"] = read.origins(document, path, value)
        elif name == "routing_strategy_args" and section == "router_settings":
            read.strategy_arguments(document, path, value, values)
        elif name in ("cache", "cache_params") and section == "litellm_settings":
            cache[name] = value
        elif name in _ENGINE and section == "litellm_settings":
            if value not in (None, False, [], {}):
                engine[name] = value
                if name in callbacks.SETTINGS:
                    callbacks.check(document, path, value)
                document.report("note", path, "is LiteLLM's, so every model goes through the engine.")
        elif name in _HARMLESS:
            document.report("note", path, f"does nothing here: {_HARMLESS[name]}.")
        elif name in _BUDGETS and section == "litellm_settings":
            values[name] = read.budget(document, path, value)
        elif name in _DURATIONS and section == "litellm_settings":
            values[name] = read.duration(document, path, value)
        elif name == "virtual_keys" and section == "general_settings":
            keys_at = path, value
        elif name == "request_logging" and section == "general_settings":
            values[name] = request_logging.parse(document, path, value)
        elif name == "database_url":
            document.error(path, "is not read from this file.", "Set DATABASE_URL.")
        else:
            message = f"is not a setting that this gateway knows in {section}."
            document.error(path, message, _meant(name, section))
    if cache.get("cache") and read.flag(document, ("litellm_settings", "cache"), cache["cache"]):
        found = response_cache.parse(
            document, ("litellm_settings", "cache_params"), cache.get("cache_params"), environment
        )
        if isinstance(found, dict):
            engine.update(cache)
            document.report(
                "note", ("litellm_settings", "cache"), "is LiteLLM's, so every model goes through the engine."
            )
        else:
            values["response_cache"] = found
    _budgets_fit(document, values)
    if keys_at is not None:
        models = (*groups, *values.get("model_group_alias", ()))
        found = virtual_keys.parse(document, *keys_at, environment, models)
        values["virtual_keys"] = found
        _no_master_key(document, keys_at[0], found, environment.get("LITELLM_MASTER_KEY") or values.get("master_key"))
    return Options(
        **values,
        engine_settings=engine,
        from_environment=tuple(reader.referenced),
        variables=frozenset(reader.variables | _variables(engine, values.get("response_cache"))),
    )


def _variables(engine: Mapping[str, Any], cache: ResponseCache | None) -> set[str]:
    return {
        *references(engine),
        *callbacks.variables(callbacks.named(engine)),
        *(cache.variables if cache else ()),
    }


def _no_master_key(document: Document, path: KeyPath, found: tuple[VirtualKey, ...], master_key: str | None) -> None:
    for index, one in enumerate(found):
        if master_key and one.held and one.held.hash == hash_secret(master_key.strip()):
            document.error((*path, index, "key"), "is the master key, which no limit holds for.", "Make another.")


def _meant(name: str, section: str) -> str:
    """What to do about a setting that is not known where it stands."""
    elsewhere = [other for other, names in _NAMES.items() if name in names]
    if elsewhere:
        return f"It belongs in {' or '.join(elsewhere)}."
    return did_you_mean(name, (*_NAMES[section], *_HARMLESS), "Remove it.")


_BUDGETS = ("max_budget", "soft_budget", "max_user_budget")
_DURATIONS = {"budget_duration": "max_budget", "user_budget_duration": "max_user_budget"}
_CHAINS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
_PLAIN = tuple(name for name in read.PLAIN if name not in read.STRATEGY_ARGUMENTS.values())
_ROUTING = ("model_group_alias", "default_fallbacks", *_CHAINS, *_PLAIN)
# Which setting is read in which section; what is LiteLLM's alone and does nothing may stand in any.
_NAMES = {
    "router_settings": (*_ROUTING, "routing_strategy_args"),
    "litellm_settings": (
        *_ROUTING,
        "request_timeout",
        "drop_params",
        "cache",
        "cache_params",
        *_ENGINE,
        *_BUDGETS,
        *_DURATIONS,
    ),
    "general_settings": ("master_key", "allowed_origins", "virtual_keys", "request_logging"),
}


class _Sections:
    """Walks the three sections, references to the environment replaced."""

    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self.document, self.environment = document, environment
        self.referenced: list[str] = []
        self.variables: set[str] = set()

    def settings(self):
        for section in ("router_settings", "litellm_settings", "general_settings"):
            content = self.document.data.get(section)
            if content is None:
                continue
            if not isinstance(content, dict):
                self.document.error((section,), "has to be a mapping.")
                continue
            for name, value in content.items():
                if isinstance(value, str) and value.startswith(REFERENCE):
                    self.referenced.append(name)
                    if name != "master_key":  # it stays outside, whatever its name
                        self.variables.update(references(value))
                    value = self.environment.get(value[len(REFERENCE) :]) or None
                yield section, (section, name), name, value


def _budgets_fit(document: Document, values: Mapping[str, Any]) -> None:
    """A duration without a budget, or a soft budget over it, would do nothing: say so."""
    for duration, budget in _DURATIONS.items():
        alone = values.get(budget) is None and not (budget == "max_budget" and values.get("soft_budget") is not None)
        if values.get(duration) is not None and alone:
            document.error(("litellm_settings", duration), f"has no use without {budget}.", "Set both or neither.")
    most, soft = values.get("max_budget"), values.get("soft_budget")
    if most is not None and soft is not None and soft > most:
        document.error(("litellm_settings", "soft_budget"), "is over max_budget.", "Choose less.")
