"""Loads the configuration: builds a `Config` from the file and the environment, or raises with every problem found. Its
`Options` come from `router_settings`, `litellm_settings` and `general_settings`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.core.ledger.accounts import Limits, Policy
from worker.core.ledger.declared import SECTIONS
from worker.core.ledger.keys import hash_secret
from worker.core.log_text import FORMATS

from . import declared, foreign_settings, observability, providers, sections
from . import deployment as deployments
from . import document as documents
from . import option_values as read
from .declared import ConfigOwner, VirtualKey
from .deployment import Deployment
from .document import (
    IN_IMAGE,
    ConfigError,
    Document,
    KeyPath,
    Problem,
    did_you_mean,
    references,
    resolved,
    secrets_of,
    slip,
    with_secrets,
)
from .foreign_settings import COMPANIONS, ENGINE
from .observability import RequestLogging
from .sections import ResponseCache, SettingsWalk, Variables

if TYPE_CHECKING:
    from worker.core.identity.authenticator import ClaimRules


@dataclass(frozen=True, slots=True)
class Options:
    """The parsed settings.

    Times are in seconds and budgets in nano-dollars. Fallback chains map a group to the groups to try next; `"*"` in
    `fallbacks` applies to every group without its own chain.

    `from_environment` names the settings that refer to environment variables. `budgets_unset` contains the budget
    variables that are not set. `variables` contains all variables that settings need, in the proxy or in its engine.

    `provider_budget_config` and `model_max_budget` have the limits of providers and of model groups by their names, and
    `deployment_budgets` those of deployments by their ids; `load` adds them.

    `engine_settings` are the `litellm_settings` passed to the engine, and `engine_sections` are whole sections passed
    to it. `engine_reason` is the setting that sends every group through the engine, if any. `jwt_auth` is None unless
    JWTs are accepted.
    """

    routing_strategy: str = "simple-shuffle"
    latency_ttl: float = 3600.0
    lowest_latency_buffer: float = 0.0
    num_retries: int = 2
    timeout: float = 600.0
    stream_timeout: float | None = None
    allowed_fails: int = 3
    allowed_fails_policy: Mapping[str, int] = field(default_factory=dict)
    cooldown_time: float = 5.0
    disable_cooldowns: bool = False
    retry_after: float = 0.0
    retry_policy: Mapping[str, int] = field(default_factory=dict)
    max_fallbacks: int = 5
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    context_window_fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    content_policy_fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    model_group_alias: Mapping[str, str] = field(default_factory=dict)
    hidden_aliases: frozenset[str] = frozenset()
    default_max_parallel_requests: int | None = None
    tag_filtering: bool = False
    drop_params: bool = False
    allowed_origins: tuple[str, ...] = ()
    max_budget: int | None = None
    soft_budget: int | None = None
    budget_duration: str | None = None
    max_user_budget: int | None = None
    user_budget_duration: str | None = None
    user_headers: tuple[str, ...] = ()
    max_end_user_budget: int | None = None
    max_end_user_budget_id: str = ""
    provider_budget_config: Mapping[str, Limits] = field(default_factory=dict)
    model_max_budget: Mapping[str, Limits] = field(default_factory=dict)
    deployment_budgets: Mapping[str, Limits] = field(default_factory=dict)
    slack_alerts: bool = False
    master_key: str | None = field(default=None, repr=False)
    virtual_keys: tuple[VirtualKey, ...] = ()
    jwt_auth: "ClaimRules | None" = None
    owners: tuple[ConfigOwner, ...] = ()
    from_environment: tuple[str, ...] = ()
    budgets_unset: tuple[str, ...] = ()
    variables: frozenset[str] = frozenset()
    request_logging: RequestLogging | None = None
    log_format: str = "json"
    response_cache: ResponseCache | None = None
    engine_settings: Mapping[str, Any] = field(default_factory=dict)
    engine_sections: Mapping[str, Any] = field(default_factory=dict)
    engine_reason: str | None = None

    @property
    def policy(self) -> Policy:
        """The budgets of everyone, of each user and of each end user."""
        return Policy(
            everyone=Limits(self.max_budget, self.soft_budget, self.budget_duration),
            each_user=Limits(self.max_user_budget, None, self.user_budget_duration),
            each_end_user=Limits(self.max_end_user_budget),
            end_user_budget=self.max_end_user_budget_id,
            accounts={
                **{f"provider:{name}": limits for name, limits in self.provider_budget_config.items()},
                **{f"model:{name}": limits for name, limits in self.model_max_budget.items()},
                **{f"deployment:{id}": limits for id, limits in self.deployment_budgets.items()},
            },
            slack_alerts=self.slack_alerts,
        )

    @property
    def has_budget(self) -> bool:
        """Whether the file sets a budget. Keys may have their own budgets regardless."""
        budgets = (self.max_budget, self.max_user_budget, self.max_end_user_budget)
        candidates = self.provider_budget_config or self.model_max_budget or self.deployment_budgets
        return any(budget is not None for budget in budgets) or bool(self.max_end_user_budget_id or candidates)

    @property
    def needs_ledger(self) -> bool:
        """Whether any setting requires a ledger."""
        declares = bool(self.virtual_keys or self.owners)
        return self.has_budget or self.soft_budget is not None or declares or self.jwt_auth is not None


@dataclass(frozen=True, slots=True)
class Config:
    """A validated configuration.

    `deployments` keep the order of the file. `problems` contains only warnings and notes. `left_out` maps a model name
    to the problems of its `model_list` entries that cannot be used. `environment` is the process environment as
    completed by the file. `written` lists the variables that the file sets, as in `variables.Variables`. `folder` is
    the directory of the file. `document` is the content of the file and its includes, as JSON.
    """

    deployments: tuple[Deployment, ...] = ()
    options: Options = field(default_factory=Options)
    problems: tuple[Problem, ...] = ()
    name: str = "litellm_config.yaml"
    groups: Mapping[str, tuple[Deployment, ...]] = field(default_factory=dict)
    left_out: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    written: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()
    document: str = field(default="", repr=False, compare=False)

    @property
    def needs_engine(self) -> bool:
        """Whether any enabled deployment can only be reached through the engine."""
        return any(d.kind == "engine" and not d.off for d in self.deployments)


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Loads the file. Raises ConfigError with every problem if the file cannot be run."""
    return _config(documents.read(path), environment)


def loads(name: str, text: str, environment: Mapping[str, str], own: Path) -> Config:
    """Loads a configuration from a JSON document.

    `own` is the config file in the container image. Secrets that were removed from the document are restored from it,
    if it exists (see `without_secrets`). Raises ConfigError.
    """
    document = documents.of(name, text, own.absolute().parent)
    if IN_IMAGE in text:
        known = secrets_of(documents.read(own).data) if own.exists() else {}
        document.data = with_secrets(document.data, known)
    return _config(document, environment)


def _config(document: documents.Document, environment: Mapping[str, str]) -> Config:
    text = json.dumps(document.data, default=str)
    completed = sections.complete(document, environment)
    sections.check(document)
    entries = sections.models(document, completed.environment)
    names = tuple(
        dict.fromkeys(e["model_name"] for e in entries if isinstance(e, dict) and isinstance(e.get("model_name"), str))
    )
    options = parse_options(document, names, completed)
    found: list[Deployment] = []
    left_out: dict[str, tuple[Problem, ...]] = {}
    for index, entry in enumerate(entries):
        said, at = len(document.problems), ("model_list", index)
        d = deployments.parse(document, at, entry, completed.environment, options.engine_reason, completed.written)
        if d is not None:
            found.append(d)
        elif isinstance(entry, dict):
            name = str(entry.get("model_name"))
            left_out[name] = (*left_out.get(name, ()), *document.problems[said:])
    found = _limited(_unique(document, found), options)
    sections.check_tags(document, options.tag_filtering, [d.params for d in found])
    if any(providers.CREDENTIALS_VARIABLE in d.needs for d in found):
        wrong = providers.credentials_problem(completed.environment)
        document.problems += [wrong] if wrong else []
    options = replace(options, deployment_budgets={d.id: d.budget for d in found if d.budget is not None})
    for provider in options.provider_budget_config.keys() - {d.provider for d in found}:
        message = f"{provider} is the provider of no model, so its budget has no effect."
        document.report("warning", ("router_settings", "provider_budget_config"), message)
    groups: dict[str, list[Deployment]] = {}
    for d in found:
        groups.setdefault(d.group, []).append(d)
    if any(p.level == "error" for p in document.problems):
        raise ConfigError(document.problems)
    return Config(
        deployments=tuple(found),
        options=options,
        problems=tuple(document.problems),
        name=document.name,
        groups={name: tuple(members) for name, members in groups.items()},
        left_out=left_out,
        environment=completed.environment,
        written=completed.written,
        folder=document.folder,
        document=text,
    )


def _unique(document: documents.Document, found: list[Deployment]) -> list[Deployment]:
    """Makes ids unique, because health, cooldowns and the engine are keyed by id."""
    seen: set[str] = set()
    result: list[Deployment] = []
    for d in found:
        number, wanted = 1, d.id
        while wanted in seen:
            number += 1
            wanted = f"{d.id}-{number}"
        if wanted != d.id:
            message = f"the id '{d.id}' stands twice; this deployment gets '{wanted}'."
            document.report("warning", ("model_list",), message, "Give each deployment a unique id.")
        seen.add(wanted)
        result.append(d if wanted == d.id else replace(d, id=wanted))
    return result


def _limited(found: list[Deployment], options: Options) -> list[Deployment]:
    """Applies `default_max_parallel_requests` to deployments that set no limit."""
    most = options.default_max_parallel_requests
    if most is None:
        return found
    return [d if d.max_parallel_requests is not None else replace(d, max_parallel_requests=most) for d in found]


# Options: each setting is either handled here, passed to the engine, or reported with the feature that replaces it.

# LiteLLM's names for user budgets. Its internal users correspond to the `user_id`s of keys.
_ALSO = {
    "max_internal_user_budget": "max_user_budget",
    "default_max_internal_user_budget": "max_user_budget",
    "internal_user_budget_duration": "user_budget_duration",
}


def parse_options(document: Document, groups: tuple[str, ...], given: Variables) -> Options:
    """Parses the three sections and reports problems to `document`. `groups` are the public model names."""
    return _Reader(document, groups, given).options()


class _Reader:
    """Parses the settings one by one and collects the fields of `Options`."""

    def __init__(self, document: Document, groups: tuple[str, ...], given: Variables) -> None:
        self.document, self.groups, self.environment = document, groups, given.environment
        self.names = (*groups, *_aliases(document))
        self.sections = SettingsWalk(document, given)
        self.values: dict[str, Any] = {}
        self.engine: dict[str, Any] = {}
        self.reason: str | None = None
        self.cache: dict[str, Any] = {}
        self.keys_at: tuple[KeyPath, Any] | None = None
        self.jwt: dict[str, Any] = {}
        self.owners_at: dict[str, tuple[KeyPath, Any]] = {}
        self.later: list[tuple[KeyPath, Any]] = []  # settings that are judged after all others are known

    def options(self) -> Options:
        document, values = self.document, self.values
        for section, path, name, value in self.sections.settings():
            if not (
                self._routing(section, path, name, value)
                or self._budget(path, name, value)
                or self._litellm(section, path, name, value)
                or self._general(section, path, name, value)
            ):
                self.later.append((path, value))
        asked = self.environment.get("LITELLM_LOG_FORMAT")
        if asked in FORMATS:
            values["log_format"] = asked
        guards = sections.guardrails(document)
        if guards:
            self.reason = self.reason or "guardrails"
        self._cache()
        self._jwt_auth()
        _budgets_fit(document, values)
        has_master_key = bool(self.environment.get("LITELLM_MASTER_KEY") or values.get("master_key"))
        for path, value in self.later:
            self._elsewhere(path, value, has_master_key)
        models = (*self.groups, *values.get("model_group_alias", ()))
        values["owners"] = declared.parse_owners(document, self.owners_at, models)
        if self.keys_at is not None:
            found = declared.parse_keys(document, *self.keys_at, self.environment, models)
            values["virtual_keys"] = found
            declared.check_keys(document, self.keys_at[0], found, values["owners"])
            master_key = self.environment.get("LITELLM_MASTER_KEY") or values.get("master_key")
            _no_master_key(document, self.keys_at[0], found, master_key)
        shown = {"guardrails": guards, "callback_settings": document.data.get("callback_settings")}
        whole = {name: value for name, value in shown.items() if value}
        return Options(
            **values,
            engine_settings=self.engine,
            engine_sections=whole,
            engine_reason=self.reason,
            from_environment=tuple(self.sections.referenced),
            budgets_unset=tuple(
                variable for name, variable in self.sections.unset if _ALSO.get(name, name) in _BUDGET_SETTINGS
            ),
            variables=frozenset(
                self.sections.variables | _variables({**self.engine, **whole}, values.get("response_cache"))
            ),
        )

    def _routing(self, section: str, path: KeyPath, name: str, value: Any) -> bool:
        """Reads a setting allowed in both `router_settings` and `litellm_settings`. Returns whether it was one."""
        document, values = self.document, self.values
        if section == "general_settings":
            return False
        value = resolved(value, self.environment)
        if name == "model_group_alias":
            values[name], values["hidden_aliases"] = read.aliases(document, path, value, self.groups)
        elif name in _CHAINS:
            values[name] = {**values.get(name, {}), **read.chains(document, path, value, self.names)}
        elif name == "default_fallbacks":
            names = read.group_names(document, path, value, self.names)
            values["fallbacks"] = {"*": names, **values.get("fallbacks", {})}
        elif name in _PLAIN:
            read.plain(document, path, name, value, values)
        elif name == "request_timeout":
            read.plain(document, path, "timeout", value, values)
        elif name == "provider_budget_config" and section == "router_settings":
            values[name] = read.budgets_of(document, path, value, "providers")
        elif name == "model_max_budget" and section == "router_settings":
            values[name] = read.model_budgets(document, path, value, self.groups)
        elif name == "routing_strategy_args" and section == "router_settings":
            read.strategy_arguments(document, path, value, values)
        elif name == "enable_tag_filtering" and section == "router_settings":
            values["tag_filtering"] = read.flag(document, path, value)
            if values["tag_filtering"]:
                self.later.append((path, value))
        else:
            return name == "default_litellm_params"  # already merged into the models
        return True

    def _budget(self, path: KeyPath, name: str, value: Any) -> bool:
        """Reads a budget or a duration, even from the wrong section, so that a misplaced budget is never ignored."""
        known = _ALSO.get(name, name)
        if known not in _BUDGET_SETTINGS and known not in _DURATIONS:
            return False
        if path[0] != "litellm_settings":
            document_says = f"belongs in litellm_settings; it is read as {known} anyway."
            self.document.report("warning", path, document_says, "Move it there.")
        elif known != name:
            self.document.report("note", path, f"is read as {known}, for each `user_id` of keys.")
        kind = read.budget if known in _BUDGET_SETTINGS else read.duration
        found = kind(self.document, path, value)
        if known == name and path[0] == "litellm_settings":
            self.values[known] = found
        else:
            self.values.setdefault(known, found)
        return True

    def _litellm(self, section: str, path: KeyPath, name: str, value: Any) -> bool:
        if section != "litellm_settings":
            return False
        document = self.document
        if name == "json_logs":
            self.values.setdefault("log_format", "json" if read.flag(document, path, value) else "text")
        elif name == "drop_params":
            self.values[name] = read.flag(document, path, value)
            if self.values[name]:
                document.report("note", path, "fields that a provider does not support are left out.")
        elif name == "max_end_user_budget_id":
            self.values[name] = read.text(document, path, value)
        elif name in ("cache", "cache_params"):
            self.cache[name] = value
        elif name in observability.CALLBACK_SETTINGS:
            kept = observability.usable_callbacks(document, path, value)
            if kept:
                self._engines(path, kept)
        elif name in ENGINE:
            if value not in (False, [], {}):
                self._engines(path, value)
        else:
            return False
        return True

    def _engines(self, path: KeyPath, value: Any) -> None:
        name = str(path[-1])
        self.engine[name] = value
        self.reason = self.reason or name
        self.document.report("note", path, "is LiteLLM's, so every model goes through the engine.")

    def _general(self, section: str, path: KeyPath, name: str, value: Any) -> bool:
        document, values = self.document, self.values
        if name == "master_key":
            values.setdefault(name, str(value))
            if section != "general_settings":
                document.report("warning", path, "belongs in general_settings; it is used anyway.", "Move it.")
            return True
        if section != "general_settings":
            return False
        if name in ("allowed_origins", "cors_allow_origins"):
            values["allowed_origins"] = read.origins(document, path, value)
        elif name == "alerting":
            values["slack_alerts"] = read.slack_alerts(document, path, value)
        elif name == "user_header_name":
            names = (read.text(document, path, value).lower(),)
            values.setdefault("user_headers", tuple(filter(None, names)))
        elif name == "user_header_mappings":
            found = read.end_user_headers(document, path, value)
            if found:
                values["user_headers"] = found  # as in LiteLLM, instead of the other setting
        elif name == "virtual_keys":
            self.keys_at = path, value
        elif name in ("enable_jwt_auth", "litellm_jwtauth", "role_permissions"):
            self.jwt[name] = value
        elif name in SECTIONS:
            self.owners_at[name] = path, value
        elif name == "request_logging":
            values[name] = observability.request_logging(document, path, value)
        elif name == "log_format":
            values[name] = read.one_of(document, path, value, FORMATS)
        else:
            return False
        return True

    def _jwt_auth(self) -> None:
        document, settings = self.document, ("general_settings", "litellm_jwtauth")
        on = ("general_settings", "enable_jwt_auth")
        given = self.jwt.get("litellm_jwtauth", {})
        if not read.flag(document, on, self.jwt.get("enable_jwt_auth"), strict=True):
            if given:
                document.report("warning", settings, "has no effect without `enable_jwt_auth: true`.")
            if self.jwt.get("role_permissions"):
                self.later.append((("general_settings", "role_permissions"), self.jwt["role_permissions"]))
            return
        for name in references(given):
            if not self.environment.get(name):
                message = f"needs {name}, which is not set here. At the edge it has to stand in the file."
                document.error(settings, message, "Write the value into the file.")
        if self.jwt.get("role_permissions"):
            message = "limits each role to models and routes; here it would have no effect on JWTs."
            document.error(
                ("general_settings", "role_permissions"), message, "Limit the models of teams, and remove it."
            )
        from . import jwt_auth  # only a config with JWTs needs it

        rules = jwt_auth.parse(document, settings, resolved(given, self.environment))
        jwt_auth.report_unscoped(document, on, rules, self.environment)
        self.values["jwt_auth"] = rules

    def _cache(self) -> None:
        at = ("litellm_settings", "cache")
        if not self.cache.get("cache") or not read.flag(self.document, at, self.cache["cache"]):
            return
        params = self.cache.get("cache_params")
        found = sections.parse_response_cache(
            self.document, ("litellm_settings", "cache_params"), params, self.environment
        )
        if isinstance(found, dict):
            self.engine.update(self.cache)
            self.reason = self.reason or "cache"
            self.document.report("note", at, "is LiteLLM's, so every model goes through the engine.")
        else:
            self.values["response_cache"] = found

    def _elsewhere(self, path: KeyPath, value: Any, has_master_key: bool) -> None:
        """Handles a setting that nothing here reads: prevents the start, or reports what replaces it."""
        document, (section, name) = self.document, (str(path[0]), str(path[1]))
        key = f"{section}.{name}"
        stop = foreign_settings.stop(key, value, has_master_key=has_master_key)
        if name == "block_requests_for_models_without_pricing" and read.flag(document, path, value):
            if self.values.get("max_budget") is None and self.values.get("max_user_budget") is None:
                message = "refuses models without a price; here they are refused under a budget only."
                document.error(path, message, "Set `litellm_settings.max_budget`, or remove it.")
            return
        if stop:
            document.error(path, stop.lost, stop.mend)
            return
        said = foreign_settings.instead(key)
        if said:
            document.report(said[0], path, said[1])
            return
        protective = slip(name, _PROTECTIVE[section])
        if protective:
            message = "is not a setting, so it would have no effect."
            document.error(path, message, f"Did you mean `{protective}`?")
            return
        if section == "litellm_settings":
            self.engine[name] = value  # LiteLLM also accepts arbitrary settings in this section
        if key in COMPANIONS:
            document.report("note", path, "is a LiteLLM setting; it applies to models that go through the engine.")
            return
        effect = "only affects models that go through the engine" if section == "litellm_settings" else "does nothing"
        message = f"is not a setting that this gateway knows in {section}: it {effect}."
        document.report("warning", path, message, _meant(name, section))


def _aliases(document: Document) -> list[str]:
    sections = (document.data.get(name) for name in ("router_settings", "litellm_settings"))
    found = [one.get("model_group_alias") for one in sections if isinstance(one, dict)]
    return [alias for one in found if isinstance(one, dict) for alias in one]


def _variables(engine: Mapping[str, Any], cache: ResponseCache | None) -> set[str]:
    return {
        *references(engine),
        *observability.callback_variables(observability.named_callbacks(engine)),
        *(cache.variables if cache else ()),
    }


def _no_master_key(document: Document, path: KeyPath, found: tuple[VirtualKey, ...], master_key: str | None) -> None:
    for index, one in enumerate(found):
        if master_key and one.held and one.held.hash == hash_secret(master_key.strip()):
            document.error((*path, index, "key"), "is the master key, which no limit holds for.", "Make another.")


def _meant(name: str, section: str) -> str:
    """A suggestion for a setting that is unknown in its section."""
    elsewhere = [
        other for other, names in _NAMES.items() if name in names or f"{other}.{name}" in foreign_settings.STOPS
    ]
    if elsewhere:
        return f"It belongs in {' or '.join(elsewhere)}."
    return did_you_mean(name, (*_NAMES[section], *foreign_settings.HARMLESS))


_BUDGET_SETTINGS = ("max_budget", "soft_budget", "max_user_budget", "max_end_user_budget")
_DURATIONS = {"budget_duration": "max_budget", "user_budget_duration": "max_user_budget"}
_CHAINS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
_PLAIN = tuple(name for name in read.PLAIN if name not in read.STRATEGY_ARGUMENTS.values())
_ROUTING = ("model_group_alias", "default_fallbacks", *_CHAINS, *_PLAIN)
# Losing one of these to a typo would go unnoticed until it is too late.
_PROTECTIVE = {
    "router_settings": ("provider_budget_config", "model_max_budget", "max_budget"),
    "litellm_settings": ("guardrails", "turn_off_message_logging", *_BUDGET_SETTINGS, "max_end_user_budget_id"),
    "general_settings": (
        "master_key",
        "virtual_keys",
        *SECTIONS,
        "allowed_ips",
        "custom_auth",
        "database_url",
        "litellm_jwtauth",
    ),
}
# The settings read in each section. LiteLLM-only settings without effect are accepted in any section.
_NAMES = {
    "router_settings": (*_ROUTING, "routing_strategy_args", "provider_budget_config", "model_max_budget"),
    "litellm_settings": (
        *_ROUTING,
        "request_timeout",
        "json_logs",
        "drop_params",
        "cache",
        "cache_params",
        *ENGINE,
        *_BUDGET_SETTINGS,
        *_DURATIONS,
        "max_end_user_budget_id",
    ),
    "general_settings": (
        "user_header_name",
        "user_header_mappings",
        "alerting",
        "master_key",
        "allowed_origins",
        "virtual_keys",
        "enable_jwt_auth",
        "litellm_jwtauth",
        *SECTIONS,
        "request_logging",
        "log_format",
    ),
}


def _budgets_fit(document: Document, values: Mapping[str, Any]) -> None:
    """Reports a duration without a budget, and a soft budget above the hard one."""
    for duration, budget in _DURATIONS.items():
        alone = values.get(budget) is None and not (budget == "max_budget" and values.get("soft_budget") is not None)
        if values.get(duration) is not None and alone:
            message = f"has no use without {budget}."
            document.report("warning", ("litellm_settings", duration), message, "Set both or neither.")
    most, soft = values.get("max_budget"), values.get("soft_budget")
    if most is not None and soft is not None and soft > most:
        document.error(("litellm_settings", "soft_budget"), "is over max_budget.", "Use a smaller amount.")
