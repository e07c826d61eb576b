"""Parsers for the values of single settings. Each reads one value and reports a problem if the value cannot be used."""

from typing import Any

from worker.core.api.headers import is_origin
from worker.core.ledger.accounts import Limits
from worker.core.values import money, periods

from .document import Document, KeyPath, did_you_mean

# Deprecated LiteLLM strategies and their successors.
_SUCCESSORS = {"usage-based-routing": "usage-based-routing-v2"}
STRATEGIES = (
    "simple-shuffle",
    "latency-based-routing",
    "least-busy",
    "usage-based-routing-v2",
    "cost-based-routing",
)
_LITELLMS_STRATEGIES = ("lar1", "provider-budget-routing")
RETRY_POLICY_CLASSES = (
    "AuthenticationErrorRetries",
    "TimeoutErrorRetries",
    "RateLimitErrorRetries",
    "InternalServerErrorRetries",
)
# The failure kinds (container/routing/health.py) behind each name in `allowed_fails_policy`.
FAILS_POLICY_CLASSES = {
    "AuthenticationErrorAllowedFails": ("authentication",),
    "TimeoutErrorAllowedFails": ("timeout",),
    "RateLimitErrorAllowedFails": ("rate_limit",),
    "InternalServerErrorAllowedFails": ("server", "connection"),
    "ServiceUnavailableErrorAllowedFails": ("server",),
    "BadGatewayErrorAllowedFails": ("server",),
    "NotFoundErrorAllowedFails": ("not_found",),
}
# A faulty request never puts a deployment into cooldown.
NEVER_COUNTED = ("BadRequestErrorAllowedFails", "ContentPolicyViolationErrorAllowedFails")
# LiteLLM's other error classes. These errors are never retried.
NEVER_RETRIED = ("ContentPolicyViolationErrorRetries", "BadRequestErrorRetries")
# The names used here for LiteLLM's `routing_strategy_args`.
STRATEGY_ARGUMENTS = {"ttl": "latency_ttl", "lowest_latency_buffer": "lowest_latency_buffer"}
PLAIN: dict[str, type] = {
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
    "allowed_fails_policy": dict,
    "default_max_parallel_requests": int,
}


_NO_POLICY = "has to be a mapping of error classes to numbers"


def plain(document: Document, path: KeyPath, name: str, value: Any, values: dict[str, Any]) -> None:
    kind = PLAIN[name]
    if value is None:
        return
    if kind is bool:
        values[name] = flag(document, path, value)
    elif kind is str:
        if str(value) in _SUCCESSORS:
            document.report("note", path, f"is treated as {_SUCCESSORS[str(value)]}.")
            value = _SUCCESSORS[str(value)]
        if value in _LITELLMS_STRATEGIES:
            document.report("warning", path, f"'{value}' exists only in LiteLLM; {STRATEGIES[0]} is used instead.")
            value = STRATEGIES[0]
        if value not in STRATEGIES:
            document.error(
                path,
                f"'{value}' is not a strategy that this version supports.",
                did_you_mean(str(value), STRATEGIES, f"There are: {', '.join(STRATEGIES)}."),
            )
        values[name] = str(value)
    elif kind is dict:
        values[name] = (retry_policy if name == "retry_policy" else fails_policy)(document, path, value)
    else:
        try:
            number = kind(value)
        except (TypeError, ValueError, OverflowError):
            number = -1
        if isinstance(value, bool) or not 0 <= number < 1e9 or (kind is int and number != float(value)):
            message = f"has to be a {'whole ' if kind is int else ''}number from 0 on, not {value!r}, and is not used."
            # An invalid limit is an error, because ignoring it would remove a protection. The others have defaults.
            document.report("error" if name == "default_max_parallel_requests" else "warning", path, message)
        else:
            values[name] = number


def strategy_arguments(document: Document, path: KeyPath, value: Any, values: dict[str, Any]) -> None:
    if not isinstance(value, dict):
        document.report("warning", path, "has to be a mapping, and is not used.")
        return
    for name, argument in value.items():
        if name in STRATEGY_ARGUMENTS:
            plain(document, (*path, name), STRATEGY_ARGUMENTS[name], argument, values)
        elif argument is not None:
            mend = f"There are: {', '.join(STRATEGY_ARGUMENTS)}."
            document.report("warning", (*path, name), "is unknown and has no effect.", mend)


def retry_policy(document: Document, path: KeyPath, value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        document.report("warning", path, f"{_NO_POLICY}, and is not used.")
        return {}
    return _policy(document, path, value, RETRY_POLICY_CLASSES, NEVER_RETRIED)


def fails_policy(document: Document, path: KeyPath, value: Any) -> dict[str, int]:
    """The number of failures allowed per minute, by failure kind (container/routing/health.py)."""
    if not isinstance(value, dict):
        document.report("warning", path, f"{_NO_POLICY}, and is not used.")
        return {}
    found = _policy(document, path, value, tuple(FAILS_POLICY_CLASSES), NEVER_COUNTED)
    return {kind: number for name, number in found.items() for kind in FAILS_POLICY_CLASSES[name]}


def _policy(
    document: Document, path: KeyPath, value: dict, classes: tuple[str, ...], never: tuple[str, ...]
) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, number in value.items():
        if number is None:
            continue
        if name in never:
            document.report("note", (*path, name), "does nothing here: such a request is not the deployment's fault.")
        elif name not in classes:
            mend = f"There are: {', '.join(classes)}."
            document.report("warning", (*path, name), "is unknown and has no effect.", mend)
        elif isinstance(number, bool) or not str(number).strip().isdigit():
            message = f"has to be a whole number from 0 on, not {number!r}, and is not used."
            document.report("warning", (*path, name), message)
        else:
            found[name] = int(number)
    return found


def budget(document: Document, path: KeyPath, value: Any) -> int | None:
    """An amount in US dollars, converted to nano-dollars. None if the setting is empty."""
    if isinstance(value, str):  # from an environment variable
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


def duration(document: Document, path: KeyPath, value: Any) -> str | None:
    if value is None:
        return None
    try:
        periods.parse(value if isinstance(value, str) else repr(value))
    except ValueError as error:
        document.error(path, f"cannot be used: {error}.")
        return None
    return str(value)


_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0", "")


def flag(document: Document, path: KeyPath, value: Any, *, strict: bool = False) -> bool:
    """Parses a boolean, which may be quoted or come from a variable. As in LiteLLM, any other text counts as true. For
    a `strict` setting it is an error.
    """
    word = str(value).strip().lower()
    if value is None or word in _FALSE:
        return False
    if word not in _TRUE:
        if strict:
            document.error(path, f"has to be true or false, not {value!r}.")
            return False
        document.report("warning", path, f"has to be true or false; {value!r} is read as true.")
    return True


def one_of(document: Document, path: KeyPath, value: Any, words: tuple[str, ...]) -> str:
    """Parses one of the words. Reports an error for anything else and returns the first."""
    if value not in words:
        document.error(path, f"has to be {' or '.join(words)}, not {value!r}.")
        return words[0]
    return value


def texts(document: Document, path: KeyPath, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        document.error(path, "has to be a list of texts.")
        return ()
    return tuple(v.strip().rstrip("/") for v in value if v.strip())


def budgets_of(document: Document, path: KeyPath, value: Any, what: str) -> dict[str, Limits]:
    """Limits by names. `what`: whose names they are.

    https://docs.litellm.ai/docs/proxy/provider_budget_routing
    """
    if not isinstance(value, dict):
        document.error(path, f"has to be a mapping of {what}.", "For example: `openai: {budget_limit: 10}`.")
        return {}
    found: dict[str, Limits] = {}
    for name, settings in value.items():
        at = (*path, str(name))
        unknown = settings.keys() - _BUDGET_FIELDS if isinstance(settings, dict) else {"it"}
        if unknown:
            message = f"has to be a mapping of {', '.join(sorted(_BUDGET_FIELDS))}."
            document.error(at, message, "For example: `{budget_limit: 10, time_period: 1d}`.")
            continue
        most = budget(document, at, settings.get("budget_limit", settings.get("max_budget")))
        soft = budget(document, at, settings.get("soft_budget"))
        period = duration(document, at, settings.get("time_period", settings.get("budget_duration")))
        counts = [settings.get(field) for field in ("rpm_limit", "tpm_limit", "max_parallel_requests")]
        if any(n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 0) for n in counts):
            document.error(at, "has a limit that is not a whole number.")
            continue
        if most is None and period is not None and soft is None:
            document.report("warning", at, "has a period, which has no effect without a budget.")
        found[str(name)] = Limits(most, soft, period, *counts)
    return found


_BUDGET_FIELDS = frozenset(
    "budget_limit time_period max_budget budget_duration soft_budget rpm_limit tpm_limit max_parallel_requests".split()
)


def model_budgets(document: Document, path: KeyPath, value: Any, groups: tuple[str, ...]) -> dict[str, Limits]:
    """Limits by model names. A name that no model has is an error: a budget that was set has to hold."""
    found = budgets_of(document, path, value, "models")
    for name in found.keys() - set(groups):
        document.error((*path, name), f"'{name}' is not the `model_name` of a model.", known(name, groups))
    return found


def text(document: Document, path: KeyPath, value: Any) -> str:
    if not isinstance(value, str | None):
        document.error(path, f"has to be a text, not {value!r}.")
        return ""
    return (value or "").strip()


def end_user_headers(document: Document, path: KeyPath, value: Any) -> tuple[str, ...]:
    """Returns the names of the headers that `user_header_mappings` gives to end users."""
    found = []
    for item in value if isinstance(value, list) else [value]:
        name = item.get("header_name") if isinstance(item, dict) else None
        role = str(item.get("litellm_user_role")).lower() if isinstance(item, dict) else ""
        if not isinstance(name, str) or not name or role not in ("customer", "internal_user"):
            document.error(path, "has to be a list of `header_name` and `litellm_user_role: customer`.")
        elif role == "customer":
            found.append(name.lower())
        else:
            message = f"{name} has no effect: the key's `user_id` says who pays, and no client may choose another."
            document.report("warning", path, message)
    return tuple(found)


def origins(document: Document, path: KeyPath, value: Any) -> tuple[str, ...]:
    found = texts(document, path, value)
    for origin in found:
        if not is_origin(origin):
            document.error(path, f"'{origin}' is no origin.", "Write `https://host`, or `*`.")
    return found


def slack_alerts(document: Document, path: KeyPath, value: Any) -> bool:
    """Whether `alerting` names slack. LiteLLM's other receivers are reported."""
    found = texts(document, path, value or [])
    others = [name for name in found if name != "slack"]
    if others:
        mend = "Set ALERT_WEBHOOK_URL to receive alerts as JSON." if "webhook" in others else "Use `slack`."
        document.report("warning", path, f"alerts are not sent to {', '.join(others)}.", mend)
    return "slack" in found


def aliases(
    document: Document, path: KeyPath, value: Any, groups: tuple[str, ...]
) -> tuple[dict[str, str], frozenset[str]]:
    """The model behind each alias, and the aliases that are hidden from the model list."""
    aliases: dict[str, str] = {}
    hidden: set[str] = set()
    if not isinstance(value, dict):
        document.error(path, "has to be a mapping of aliases to model names.")
        return aliases, frozenset()
    for alias, target in value.items():
        if isinstance(target, dict):
            if flag(document, (*path, alias, "hidden"), target.get("hidden")):
                hidden.add(alias)
            target = target.get("model")
        if alias == target:
            continue
        if not _is_known(str(target), groups):
            message = f"'{target}' is not a model of this config; the alias has no effect."
            document.report("warning", (*path, alias), message, known(str(target), groups))
            continue
        if alias in groups:
            message = f"is also the name of a model; requests for it go to '{target}'."
            document.report("warning", (*path, alias), message, "Choose another alias.")
        aliases[alias] = str(target)
    return aliases, frozenset(hidden & aliases.keys())


def chains(document: Document, path: KeyPath, value: Any, groups: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Parses `[{claude-sonnet: [gpt-4o, gemini-pro]}, …]` to {"claude-sonnet": ("gpt-4o", "gemini-pro")}."""
    chains: dict[str, tuple[str, ...]] = {}
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        document.error(path, "has to be a list such as `[{claude-sonnet: [gpt-4o]}]`.")
        return chains
    for index, entry in enumerate(value):
        for group, targets in entry.items():
            if group != "*":
                group_names(document, (*path, index, group), [group], groups)
            found = group_names(document, (*path, index, group), targets, groups)
            if found:
                chains[group] = found
    return chains


def group_names(document: Document, path: KeyPath, value: Any, groups: tuple[str, ...]) -> tuple[str, ...]:
    """Keeps the names that are models of the config. LiteLLM would fail at the request that uses an unknown one."""
    if isinstance(value, str):
        value = [value]
    if value is None:
        return ()
    if isinstance(value, list) and any(isinstance(v, dict) and v.get("model") for v in value):
        # LiteLLM's second notation: a model together with fields that override those of the request.
        document.report("warning", path, "names fields beside models; here the request goes on as it is.")
        value = [v.get("model", v) if isinstance(v, dict) else v for v in value]
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        document.error(path, "has to be a list of model names.")
        return ()
    for name in value:
        if not _is_known(name, groups):
            message = f"'{name}' is not a model of this config and is skipped."
            document.report("warning", path, message, known(name, groups))
    return tuple(name for name in value if _is_known(name, groups))


def _is_known(name: str, groups: tuple[str, ...]) -> bool:
    return name in groups or any("*" in g and name.startswith(g.split("*", 1)[0]) for g in groups)


def known(name: str, groups: tuple[str, ...]) -> str:
    return did_you_mean(name, groups, f"There are: {', '.join(groups)}.")
