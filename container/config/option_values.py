"""What single settings may say: each function reads one value, and reports what cannot be used."""

from typing import Any

from worker.api.cors import is_origin
from worker.ledger import money, periods

from .document import Document, KeyPath
from .suggest import did_you_mean

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
    "InternalServerErrorRetries",
)
# LiteLLM's further classes.
NEVER_RETRIED = ("ContentPolicyViolationErrorRetries", "BadRequestErrorRetries")
# `routing_strategy_args` by the names they have here.
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
}


def plain(document: Document, path: KeyPath, name: str, value: Any, values: dict[str, Any]) -> None:
    kind = PLAIN[name]
    if value is None:
        return
    if kind is bool:
        values[name] = flag(document, path, value)
    elif kind is str:
        if value not in STRATEGIES:
            document.error(
                path,
                f"'{value}' is not a strategy of this version.",
                did_you_mean(str(value), STRATEGIES, f"There are: {', '.join(STRATEGIES)}."),
            )
        values[name] = str(value)
    elif kind is dict:
        values[name] = retry_policy(document, path, value)
    else:
        try:
            number = kind(value)
        except (TypeError, ValueError, OverflowError):
            number = -1
        if isinstance(value, bool) or not 0 <= number < 1e9 or (kind is int and number != float(value)):
            document.error(path, f"has to be a {'whole ' if kind is int else ''}number from 0 on, not {value!r}.")
        else:
            values[name] = number


def strategy_arguments(document: Document, path: KeyPath, value: Any, values: dict[str, Any]) -> None:
    if not isinstance(value, dict):
        document.error(path, "has to be a mapping.")
        return
    for name, argument in value.items():
        if name in STRATEGY_ARGUMENTS:
            plain(document, (*path, name), STRATEGY_ARGUMENTS[name], argument, values)
        else:
            document.error((*path, name), "is not known.", f"There are: {', '.join(STRATEGY_ARGUMENTS)}.")


def retry_policy(document: Document, path: KeyPath, value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        document.error(path, "has to be a mapping of error classes to numbers.")
        return {}
    for name, number in value.items():
        if name in NEVER_RETRIED:
            document.report("note", (*path, name), "does nothing here: who refuses a request would refuse it again.")
        elif name not in RETRY_POLICY_CLASSES or not isinstance(number, int) or number < 0:
            document.error(
                (*path, name), "is not known.", f"There are: {', '.join(RETRY_POLICY_CLASSES)}, each a number."
            )
    return {k: v for k, v in value.items() if k in RETRY_POLICY_CLASSES and isinstance(v, int)}


def budget(document: Document, path: KeyPath, value: Any) -> int | None:
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


def duration(document: Document, path: KeyPath, value: Any) -> str | None:
    if value is None:
        return None
    try:
        periods.parse(value if isinstance(value, str) else repr(value))
    except ValueError as error:
        document.error(path, f"cannot be used: {error}.")
        return None
    return str(value)


def flag(document: Document, path: KeyPath, value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        document.error(path, f"has to be true or false, not {value!r}.")
        return False
    return value


def texts(document: Document, path: KeyPath, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        document.error(path, "has to be a list of texts.")
        return ()
    return tuple(v.strip().rstrip("/") for v in value if v.strip())


def origins(document: Document, path: KeyPath, value: Any) -> tuple[str, ...]:
    found = texts(document, path, value)
    for origin in found:
        if not is_origin(origin):
            document.error(path, f"'{origin}' is no origin.", "Write `https://host`, or `*`.")
    return found


def aliases(document: Document, path: KeyPath, value: Any, groups: tuple[str, ...]) -> dict[str, str]:
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
            document.error((*path, alias), f"'{target}' is not a model of this config.", known(str(target), groups))
        elif alias in groups:
            document.error((*path, alias), "is the name of a model, too.", "Choose another.")
        else:
            aliases[alias] = target
    return aliases


def chains(document: Document, path: KeyPath, value: Any, groups: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """`[{claude-sonnet: [gpt-4o, gemini-pro]}, …]` as {"claude-sonnet": ("gpt-4o", "gemini-pro")}."""
    chains: dict[str, tuple[str, ...]] = {}
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        document.error(path, "has to be a list such as `[{claude-sonnet: [gpt-4o]}]`.")
        return chains
    for index, entry in enumerate(value):
        for group, targets in entry.items():
            if group != "*":
                group_names(document, (*path, index, group), [group], groups)
            chains[group] = group_names(document, (*path, index, group), targets, groups)
    return chains


def group_names(document: Document, path: KeyPath, value: Any, groups: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        document.error(path, "has to be a list of model names.")
        return ()
    for name in value:
        if name not in groups and not any("*" in g and name.startswith(g.split("*", 1)[0]) for g in groups):
            document.error(path, f"'{name}' is not a model of this config.", known(name, groups))
    return tuple(value)


def known(name: str, groups: tuple[str, ...]) -> str:
    return did_you_mean(name, groups, f"There are: {', '.join(groups)}.")
