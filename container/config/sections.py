"""The top level of the config file: which settings and which entries of `model_list` there are, and the environment
variables that the file sets.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from worker.core.configuration import TOKEN_VARIABLE
from worker.core.values import periods

from . import foreign_settings, observability
from .document import REFERENCE, Document, KeyPath, references, resolved
from .response_cache import redis_url

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
