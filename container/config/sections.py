"""Parses `litellm_settings.cache` and `cache_params`, and builds the Redis URL."""

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

from worker.core.configuration import TOKEN_VARIABLE
from worker.core.values import periods

from . import foreign_settings, observability
from .document import REFERENCE, Document, KeyPath, references, resolved

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
RESPONSE_CACHE_TTL = 600.0


@dataclass(frozen=True, slots=True)
class ResponseCache:
    """Settings of the response cache.

    `ttl` is in seconds. `endpoints` are the endpoints whose responses are cached. `url` is '' if the environment names
    no Redis. `variables` are the environment variables that can name it.
    """

    ttl: float = RESPONSE_CACHE_TTL
    namespace: str = ""
    endpoints: tuple[str, ...] = tuple(_CALLS.values())
    url: str = field(default="", repr=False)
    variables: tuple[str, ...] = ()


def parse_response_cache(
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
    ttl = _seconds(params.get("ttl", RESPONSE_CACHE_TTL), environment)
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


# These change how programs start, and LiteLLM does not read them from the file either. The last one belongs to the
# edge.
BLOCKED = frozenset(
    "PATH LD_PRELOAD LD_LIBRARY_PATH DYLD_LIBRARY_PATH DYLD_INSERT_LIBRARIES PYTHONPATH PYTHONSTARTUP PYTHONHOME HOME "
    f"USER SHELL LOGNAME NO_PROXY no_proxy {TOKEN_VARIABLE}".split()
)
# Settings that are equivalent to an environment variable.
_SETTINGS: Mapping[str, KeyPath] = {
    "DATABASE_URL": ("general_settings", "database_url"),
    "MAX_BODY_MB": ("general_settings", "max_request_size_mb"),
    "SPEND_LOG_RETENTION_DAYS": ("general_settings", "maximum_spend_logs_retention_period"),
    "VERTEXAI_PROJECT": ("litellm_settings", "vertex_project"),
    "VERTEXAI_LOCATION": ("litellm_settings", "vertex_location"),
}
_REDIS = ("redis_url", "redis_host", "redis_port", "redis_password", "redis_db", "redis_username")
_REDIS_SECTIONS: tuple[tuple[KeyPath, str], ...] = (
    (("general_settings", "coordination_redis"), ""),
    (("router_settings",), "redis_"),
)
_MS_PER_DAY = 86_400_000
_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|CREDENTIALS", re.IGNORECASE)


class Variables(NamedTuple):
    """The result of `complete`.

    `environment` is the process environment as completed by the file. `written` maps each name in
    `environment_variables` to the variable that it refers to, or to '' if the file contains the value. `read` contains
    the settings that have been handled.
    """

    environment: Mapping[str, str]
    written: Mapping[str, str]
    read: frozenset[KeyPath]


def complete(document: Document, environment: Mapping[str, str]) -> Variables:
    """Completes the environment from the file and reports problems to `document`."""
    found = dict(environment)
    written = _environment_variables(document, found)
    done: set[KeyPath] = set()
    for variable, path in _SETTINGS.items():
        value = _at(document, path)
        if value is None:
            continue
        done.add(path)
        text = _text(document, path, value, found)
        if path[-1] == "maximum_spend_logs_retention_period" and text:
            text = _days(document, path, text)
        if text and not found.get(variable):
            found[variable] = text
            document.report("note", path, f"is read as {variable}.")
        elif text and found[variable] != text:
            document.report("warning", path, f"is not used: {variable} is set and takes precedence.")
    _redis(document, found, done)
    return Variables(found, written, frozenset(done))


def _environment_variables(document: Document, found: dict[str, str]) -> dict[str, str]:
    section = document.data.get("environment_variables")
    if not section:
        return {}
    if not isinstance(section, dict):
        document.error(("environment_variables",), "has to be a mapping of names to values.")
        return {}
    before, written = dict(found), {}
    for name, value in section.items():
        path = ("environment_variables", name)
        if value is None:
            continue
        if name in BLOCKED:
            document.report("warning", path, "cannot be set from this file.", "Set it in the environment.")
            continue
        text = str(value)
        if text.startswith(REFERENCE):
            written[name] = text[len(REFERENCE) :]
            text = before.get(written[name], "")
        else:
            written[name] = ""
            if _SECRET.search(name) and text:
                document.report(
                    "warning", path, "is a secret that stands in the file.", f"Set {name} in the environment."
                )
        if text:
            found[name] = text
    return written


def _redis(document: Document, found: dict[str, str], done: set[KeyPath]) -> None:
    """Reads the Redis location from the file, unless the environment sets it."""
    for section, prefix in _REDIS_SECTIONS:
        content = _at(document, section)
        if not isinstance(content, dict):
            continue
        names = [name for name in _REDIS if content.get(prefix + name.removeprefix("redis_")) is not None]
        paths = {name: (*section, prefix + name.removeprefix("redis_")) for name in names}
        done.update(paths.values())
        if not prefix:
            done.add(section)
        values = {name: _text(document, path, _at(document, path), found) for name, path in paths.items()}
        if not (values.get("redis_url") or values.get("redis_host")):
            continue
        at = next(iter(paths.values()))
        if found.get("REDIS_URL") or found.get("REDIS_HOST"):
            document.report("note", at, "is not used: REDIS_URL or REDIS_HOST is set and takes precedence.")
            continue
        number = values.pop("redis_db", "")
        found.update({name.upper(): text for name, text in values.items() if text})
        if number and not values.get("redis_url"):
            found["REDIS_URL"] = f"{redis_url(found)}/{number}"
        document.report("note", at, "is read as REDIS_URL or REDIS_HOST; cooldowns are shared through it.")


def _at(document: Document, path: KeyPath) -> Any:
    value: Any = document.data
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(document: Document, path: KeyPath, value: Any, environment: Mapping[str, str]) -> str:
    """The text of a setting with its reference resolved, or '' if the variable is not set."""
    text = str(value)
    if not text.startswith(REFERENCE):
        return text.strip()
    name = text[len(REFERENCE) :]
    if not environment.get(name):
        document.report("warning", path, f"{name} is not set.", f"Set {name}.")
    return environment.get(name, "").strip()


def _days(document: Document, path: KeyPath, text: str) -> str:
    """Converts a period such as `30d` to days. LiteLLM reads a bare number as seconds."""
    try:
        if text.isdigit():
            return f"{int(text) / 86_400:.6f}"
        return f"{periods.length(text) / _MS_PER_DAY:g}"
    except ValueError as error:
        document.report("warning", path, f"cannot be used: {error}.", "Set SPEND_LOG_RETENTION_DAYS.")
        return ""


class SettingsWalk:
    """Iterates over the settings and collects the environment variables that they use.

    `referenced` contains the names of settings that refer to a variable. `unset` contains (name, variable) pairs for
    variables that are not set. `variables` contains every variable used, except the master key's.
    """

    def __init__(self, document: Document, given: Variables) -> None:
        self.document, self.environment, self.done = document, given.environment, given.read
        self.referenced: list[str] = []
        self.unset: list[tuple[str, str]] = []
        self.variables: set[str] = set()

    def settings(self) -> Iterator[tuple[str, KeyPath, str, Any]]:
        """Yields section, path, name and value of every setting that has a value."""
        for section in ("router_settings", "litellm_settings", "general_settings"):
            content = self.document.data.get(section)
            if content is None:
                continue
            if not isinstance(content, dict):
                self.document.error((section,), "has to be a mapping.")
                continue
            for name, value in content.items():
                path = (section, name)
                if isinstance(value, str) and value.startswith(REFERENCE) and path not in self.done:
                    self.referenced.append(name)
                    # the master key never enters the container, whatever its variable is called
                    if name != "master_key":
                        self.variables.update(references(value))
                    variable = value[len(REFERENCE) :]
                    value = self.environment.get(variable) or None
                    if value is None and name != "master_key":
                        self.document.report("warning", path, f"{variable} is not set, so the setting is ignored.")
                        self.unset.append((name, variable))
                if value is not None and path not in self.done:  # an empty setting counts as absent
                    yield section, path, name, value


SECTIONS = ("model_list", "router_settings", "litellm_settings", "general_settings", "environment_variables")
_OURS = (*SECTIONS, "credential_list", "guardrails", "callback_settings")
# These sections may contain a budget, a key or a guardrail, so a misspelled name is an error.
_PROTECTIVE = ("model_list", "litellm_settings", "general_settings", "guardrails")
_ALIKE = 0.85


def check(document: Document) -> None:
    """Reports sections that nothing reads."""
    for name, value in document.data.items():
        if name in _OURS or value in (None, [], {}):
            continue
        lost = foreign_settings.stop(name, value, has_master_key=True)
        if lost:
            document.error((name,), lost.lost, lost.mend)
        elif name in foreign_settings.SECTIONS:
            document.report("warning", (name,), f"does nothing here. {foreign_settings.SECTIONS[name]}")
        else:
            _unknown(document, name)


def _unknown(document: Document, name: str) -> None:
    meant = difflib.get_close_matches(name, _PROTECTIVE, 1, cutoff=_ALIKE)
    if meant:
        document.error(
            (name,), "is not a section of this file and would have no effect.", f"Did you mean `{meant[0]}`?"
        )
        return
    meant = difflib.get_close_matches(name, SECTIONS, 1, cutoff=_ALIKE)
    mend = f"Did you mean `{meant[0]}`?" if meant else f"There are: {', '.join(SECTIONS)}."
    document.report("warning", (name,), "is not a section of this file and has no effect.", mend)


def models(document: Document, environment: Mapping[str, str]) -> list[Any]:
    """The entries of `model_list`, completed.

    Each entry inherits `router_settings.default_litellm_params` and its named credential; values in the entry itself
    take precedence. References in `model_name` and `model_info` are resolved.
    """
    entries = document.data.get("model_list")
    if entries is not None and not isinstance(entries, list):
        document.error(("model_list",), "has to be a list.", "Begin each model with `- model_name: NAME`.")
        return []
    if not entries:
        document.report("warning", ("model_list",), "is missing or empty, so no models are available.")
        return []
    router = document.data.get("router_settings")
    defaults = router.get("default_litellm_params") if isinstance(router, dict) else None
    if defaults is not None and not isinstance(defaults, dict):
        document.error(("router_settings", "default_litellm_params"), "has to be a mapping.")
        defaults = None
    known = _credentials(document)
    return [
        _completed(document, index, _named(entry, environment), defaults or {}, known)
        for index, entry in enumerate(entries)
    ]


def _named(entry: Any, environment: Mapping[str, str]) -> Any:
    if not isinstance(entry, dict):
        return entry
    found = dict(entry)
    if isinstance(name := entry.get("model_name"), str):
        found["model_name"] = resolved(name, environment) or name
    if isinstance(info := entry.get("model_info"), dict):
        found["model_info"] = resolved(info, environment)
    return found


def _completed(
    document: Document, index: int, entry: Any, defaults: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]
) -> Any:
    params = entry.get("litellm_params") if isinstance(entry, dict) else None
    if not isinstance(params, dict):
        return entry
    credential = params.get("litellm_credential_name")
    given: Mapping[str, Any] = {}
    if credential is not None:
        at = ("model_list", index, "litellm_params", "litellm_credential_name")
        given = known.get(str(credential), {})
        if str(credential) not in known:
            message = f"'{credential}' is not in `credential_list`, so the provider's default key is used."
            document.report("warning", at, message, "Write `api_key: os.environ/NAME`.")
    own = {name: value for name, value in params.items() if name != "litellm_credential_name"}
    return {**entry, "litellm_params": {**defaults, **given, **own}}


def _credentials(document: Document) -> dict[str, Mapping[str, Any]]:
    """The fields of litellm_params that each entry of `credential_list` provides, by name."""
    section = document.data.get("credential_list")
    if section is None:
        return {}
    if not isinstance(section, list):
        document.error(("credential_list",), "has to be a list.")
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for index, one in enumerate(section):
        values = one.get("credential_values") if isinstance(one, dict) else None
        if not isinstance(values, dict) or not one.get("credential_name"):
            document.error(("credential_list", index), "needs `credential_name` and `credential_values`.")
            continue
        found[str(one["credential_name"])] = values
    return found


def guardrails(document: Document) -> list[dict[str, Any]]:
    """The guardrails that the engine runs for every request.

    A guardrail without `default_on` runs only for requests that name it, and such requests are refused.
    """
    section = document.data.get("guardrails")
    if section in (None, [], {}):
        return []
    if not isinstance(section, list) or not all(isinstance(one, dict) for one in section):
        document.error(("guardrails",), "has to be a list of mappings.", "Otherwise requests would not be checked.")
        return []
    found = []
    for index, one in enumerate(section):
        params = one.get("litellm_params")
        params = params if isinstance(params, dict) else {}
        at = ("guardrails", index)
        on = params.get("default_on")
        if on in (True, "true", "True"):
            observability.check_module(document, (*at, "litellm_params", "guardrail"), params.get("guardrail"))
            document.report("note", at, "is LiteLLM's, so every model goes through the engine.")
            found.append(one)
        else:
            message = "runs for requests that name it only; here such a request is refused."
            document.report("warning", at, message, "Write `default_on: true` to have it run for every request.")
    return found


def check_tags(document: Document, filtering: bool, params: Iterable[Mapping[str, Any]]) -> None:
    """Refuses tag filtering: tags restrict deployments to tagged requests, which this router does not implement."""
    if filtering and any(one.get("tags") or one.get("tag_regex") for one in params):
        message = "reserves deployments for requests with their tags; here every request could reach them."
        mend = "Give those deployments their own `model_name`, limit the `models` of keys, and remove this setting."
        document.error(("router_settings", "enable_tag_filtering"), message, mend)
