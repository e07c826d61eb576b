"""Parses `litellm_settings.cache` and `cache_params`, and builds the Redis URL."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from .document import REFERENCE, Document, KeyPath, references

VARIABLES = ("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_USERNAME", "REDIS_PASSWORD")


def redis_url(environment: Mapping[str, str]) -> str | None:
    """`REDIS_URL`, or a URL built from `REDIS_HOST`, `REDIS_PORT`, `REDIS_USERNAME` and `REDIS_PASSWORD`. None if
    neither `REDIS_URL` nor `REDIS_HOST` is set.
    """
    url = environment.get("REDIS_URL")
    if url:
        return url
    host = environment.get("REDIS_HOST")
    if not host:
        return None
    user, password = environment.get("REDIS_USERNAME", ""), environment.get("REDIS_PASSWORD", "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if password else ""
    return f"redis://{login}{host}:{environment.get('REDIS_PORT') or 6379}"


_ENGINES = ("local", "disk", "s3", "gcs", "azure-blob", "qdrant-semantic")
_WHERE = ("url", "host", "port", "username", "password")
_NAMES = ("type", "ttl", "namespace", *_WHERE, "supported_call_types", "mode")
# LiteLLM accepts both names.
_ALSO = {f"redis_{name}": name for name in _WHERE}
# LiteLLM's call types and the endpoints they correspond to.
_CALLS = {"acompletion": "chat_completions", "atext_completion": "completions", "aembedding": "embeddings"}
DEFAULT_TTL = 600.0


@dataclass(frozen=True, slots=True)
class ResponseCache:
    """Settings of the response cache.

    `ttl` is in seconds. `endpoints` are the endpoints whose responses are cached. `url` is '' if the environment names
    no Redis. `variables` are the environment variables that can name it.
    """

    ttl: float = DEFAULT_TTL
    namespace: str = ""
    endpoints: tuple[str, ...] = tuple(_CALLS.values())
    url: str = field(default="", repr=False)
    variables: tuple[str, ...] = ()


def parse(
    document: Document, path: KeyPath, params: Any, environment: Mapping[str, str]
) -> ResponseCache | dict[str, Any] | None:
    """Parses the cache settings when `cache` is true.

    Returns the raw `cache_params` if the engine implements this cache, and None if the settings cannot be used.
    """
    params = {} if params is None else params
    if not isinstance(params, dict):
        document.error(path, "has to be a mapping.")
        return None
    params = {_ALSO.get(name, name): value for name, value in params.items() if value is not None}
    kind = params.get("type", "redis")
    if kind in _ENGINES:
        return params
    if kind != "redis":
        message = f"{kind!r} is not a supported cache, so nothing is cached."
        document.report("warning", (*path, "type"), message, f"There are: redis, {', '.join(_ENGINES)}.")
        return None
    if params.get("mode") == "default_off":
        message = "is not supported with Redis, so nothing is cached."
        document.report("warning", (*path, "mode"), message, "Remove it to cache every response.")
        return None
    for name in params.keys() - set(_NAMES):
        mend = f"There are: {', '.join(_NAMES)}."
        document.report("warning", (*path, name), "is not supported with Redis and has no effect.", mend)
    ttl = _seconds(params.get("ttl", DEFAULT_TTL), environment)
    if ttl is None:
        document.error((*path, "ttl"), "has to be a number of seconds over 0, at most a year.")
        return None
    calls = params.get("supported_call_types", [*_CALLS])
    if not isinstance(calls, list) or not all(isinstance(call, str) for call in calls):
        document.error((*path, "supported_call_types"), "has to be a list of texts.")
        return None
    own = {f"REDIS_{name.upper()}": _said(params[name], environment) for name in _WHERE if name in params}
    mine = "REDIS_HOST" in own or "REDIS_URL" in own
    url = redis_url(own if mine else environment)
    if url is None:
        document.report(
            "warning", path, "does not specify a Redis server, so nothing is cached.", "Set REDIS_URL or REDIS_HOST."
        )
    endpoints = tuple(_CALLS[call] for call in calls if call in _CALLS)
    variables = references([params[name] for name in _WHERE if name in params]) if mine else VARIABLES
    return ResponseCache(ttl, str(params.get("namespace") or ""), endpoints, url or "", tuple(sorted(variables)))


def _seconds(value: Any, environment: Mapping[str, str]) -> float | None:
    try:
        seconds = math.nan if isinstance(value, bool) else float(_said(value, environment))
    except ValueError:
        seconds = math.nan
    return seconds if 0 < seconds <= 31_536_000 else None


def _said(value: Any, environment: Mapping[str, str]) -> str:
    text = str(value)
    return environment.get(text.removeprefix(REFERENCE), "") if text.startswith(REFERENCE) else text
