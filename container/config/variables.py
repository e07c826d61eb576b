"""Environment variables that the file sets, either in `environment_variables` or through an equivalent setting.

As in LiteLLM, `environment_variables` takes precedence over the process environment, which takes precedence over
settings.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from worker.core.configuration import TOKEN_VARIABLE
from worker.core.values import periods

from .document import REFERENCE, Document, KeyPath
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
