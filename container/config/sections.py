"""Reads the top level of the file: its sections, their settings, and the entries of `model_list`."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from . import callbacks, refused_settings, replaced_settings
from .document import REFERENCE, Document, KeyPath, references, resolved
from .variables import Variables


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
        lost = refused_settings.stop(name, value, has_master_key=True)
        if lost:
            document.error((name,), lost.lost, lost.mend)
        elif name in replaced_settings.SECTIONS:
            document.report("warning", (name,), f"does nothing here. {replaced_settings.SECTIONS[name]}")
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
            callbacks.check_module(document, (*at, "litellm_params", "guardrail"), params.get("guardrail"))
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
