"""Reads litellm_params, and determines the address and the key of a provider and the environment variables that they
require.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from . import providers
from .document import REFERENCE, Document, KeyPath, Problem
from .providers import ENGINE_NEEDS, OPTIONAL_KEYS, Direct, origin

# Reference syntax of other programs: `$NAME`, `${NAME}`, `os.environ.NAME`, `os.env/NAME`, `env:NAME`.
_ODD_REFERENCE = re.compile(r"\$|os\.environ(?!/)|os\.env\b|env[:.]|%\w+%$")


class Parameters:
    """Typed access to the litellm_params of one deployment.

    `params` are the parameters as written, and `path` is their location in the document. `left_out` is set when a value
    cannot be used. The model is then left out, as in LiteLLM.
    """

    def __init__(self, document: Document, path: KeyPath, params: dict, environment: Mapping[str, str]) -> None:
        self.document, self.path, self.params, self.environment = document, path, params, environment
        self.left_out = False

    def leave_out(self, name: str | tuple[str, ...], message: str, mend: str = "") -> None:
        self.left_out = True
        at = (name,) if isinstance(name, str) else name
        self.document.report("warning", (*self.path, *at), f"{message.rstrip('.')}; the model is left out.", mend)

    def value(self, name: str) -> Any:
        value = self.params.get(name)
        if isinstance(value, str) and value.startswith(REFERENCE):
            return self.environment.get(value[len(REFERENCE) :]) or None
        return value

    def text(self, name: str) -> str | None:
        value = self.value(name)
        if isinstance(value, date):  # YAML parses `api_version: 2024-10-21` as a date
            return value.isoformat()
        if value is None or isinstance(value, str):
            return value or None
        self.leave_out(name, "has to be text")
        return None

    def number(self, name: str) -> float | None:
        value = self.value(name)
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number) or number < 0:
            self.leave_out(name, f"has to be a number that is not negative, not {value!r}")
            return None
        return number

    def whole(self, name: str) -> int | None:
        number = self.number(name)
        if number is not None and number != int(number):
            self.leave_out(name, "has to be a whole number")
            return None
        return None if number is None else int(number)

    def refuse_odd_references(self) -> None:
        for name in ("api_key", "api_base", "base_url", "api_version"):
            value = self.params.get(name)
            if isinstance(value, str) and _ODD_REFERENCE.match(value):
                message = "looks like a reference to a variable, but the syntax is not supported"
                self.leave_out(name, message, f"Write `{REFERENCE}NAME`.")


CREDENTIALS_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
_MEND = "Set it to the path of a credentials file, or to the file's JSON."


def problem(environment: Mapping[str, str]) -> Problem | None:
    """A warning about invalid Google credentials, because other models work without them. It never quotes the
    credentials.
    """
    text = environment.get(CREDENTIALS_VARIABLE, "").strip()
    message = wrong_google_credentials(text) if text else None
    return Problem("warning", "environment", f"{CREDENTIALS_VARIABLE} {message}.", _MEND) if message else None


def wrong_google_credentials(text: str) -> str | None:
    """What is wrong with the credentials, given as a path or as JSON. None if nothing is."""
    if not text.startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            return f"names a file that cannot be read ({getattr(error, 'strerror', None) or 'not text'})"
    try:
        content = json.loads(text)
    except ValueError:
        return "holds no valid JSON"
    return None if isinstance(content, dict) and content.get("type") else "holds no credentials: there is no `type`"


# litellm_params of Vertex AI, each of which has two names.
VERTEX_PARAMETERS = frozenset(
    f"{prefix}_{name}" for prefix in ("vertex", "vertex_ai") for name in ("project", "location", "credentials")
)
CREDENTIALS = CREDENTIALS_VARIABLE
BASES = ("VERTEXAI_API_BASE", "VERTEX_API_BASE")
PROJECTS = ("VERTEXAI_PROJECT", "VERTEX_PROJECT")
LOCATIONS = ("VERTEXAI_LOCATION", "VERTEX_LOCATION")
# Projects and locations become part of the URL.
_LOCATION = re.compile(r"[a-z][a-z0-9-]*$")
_PROJECT = re.compile(r"[a-z0-9.:-]+$")


@dataclass(frozen=True, slots=True)
class Vertex:
    """Settings of a Vertex AI deployment.

    `credentials` is the path of a key file or its JSON, and is empty if no token may be sent to the address. `project`
    is None if the credentials name it. `location` is None if the model has a default.
    """

    credentials: str = field(repr=False)
    project: str | None
    location: str | None


def parse_vertex(read: Parameters) -> tuple[Vertex, str, list[str]]:
    """Returns the settings, the base URL, and the required variables. An empty base URL means Google's, which depends
    on the location.
    """
    needs: list[str] = []
    explicit = read.text("api_base") or read.text("base_url")
    base = (explicit or _first(read.environment, BASES) or "").rstrip("/")
    wrong = providers.wrong_address(base) if base else None
    if wrong:
        read.leave_out("api_base", wrong)
    named = "vertex_credentials" in read.params or "vertex_ai_credentials" in read.params
    credentials = _credentials(read, "vertex_credentials") or _credentials(read, "vertex_ai_credentials")
    if not named:
        credentials = read.environment.get(CREDENTIALS, "")
        # Default credentials are sent only to Google's own address or to one set in the environment.
        if explicit and not re.match(r"https://[a-z0-9.-]+\.googleapis\.com(?:/|$)", explicit):
            read.document.report(
                "warning",
                (*read.path, "api_base"),
                f"is not Vertex AI's own address, so {CREDENTIALS} is not used there.",
                f"Write `vertex_credentials: os.environ/{CREDENTIALS}` next to it if the server needs a token.",
            )
            credentials = ""
        else:
            needs.append(CREDENTIALS)
    _look_at(read, credentials)
    project = read.text("vertex_project") or read.text("vertex_ai_project") or _first(read.environment, PROJECTS)
    location = read.text("vertex_location") or read.text("vertex_ai_location") or _first(read.environment, LOCATIONS)
    for name, value, form in (("vertex_project", project, _PROJECT), ("vertex_location", location, _LOCATION)):
        if value is not None and not form.match(value):
            mend = "For example: `global`." if form is _LOCATION else "Use the project id."
            read.leave_out(name, f"{value!r} is not a valid name", mend)
    return Vertex(credentials, project, location), base, needs


def _credentials(read: Parameters, name: str) -> str:
    """The credentials, which the file may contain as a mapping."""
    value = read.value(name)
    return json.dumps(value) if isinstance(value, dict) else read.text(name) or ""


def _look_at(read: Parameters, credentials: str) -> None:
    """Reports credentials that are obviously invalid. Google validates the rest at the first request."""
    message = wrong_google_credentials(credentials.strip()) if credentials else None
    if message and credentials != read.environment.get(CREDENTIALS):  # the variable itself is checked elsewhere
        mend = "Set it to a service account key, as JSON or as a file path."
        read.document.report("warning", (*read.path, "vertex_credentials"), f"{message}.", mend)


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)


def called_directly(read: Parameters, provider: str, direct: Direct) -> tuple[str, str | None, list[str]]:
    """The base URL, the key and the required variables of a provider that is called directly."""
    environment, needs = read.environment, []
    explicit = read.text("api_base") or read.text("base_url")
    names_base = "api_base" in read.params or "base_url" in read.params
    from_variable = next((environment[v] for v in direct.base_variables if environment.get(v)), None)
    base = explicit or ("" if names_base else from_variable or direct.base)
    if not names_base and not from_variable and not direct.base:
        if direct.base_variables:
            needs.append("|".join(direct.base_variables))
        else:
            read.leave_out("api_base", "is missing", f"Set it to the address of the {provider} server.")
    key = read.text("api_key")
    if key is None and "api_key" not in read.params:
        key = next((environment[v] for v in direct.key_variables if environment.get(v)), None)
        if provider in OPTIONAL_KEYS:
            key = environment.get(OPTIONAL_KEYS[provider])
        # A default key is sent only to the provider's own address or to one set in the environment.
        has_home = bool(direct.base and direct.key_variables)
        stranger = names_base and has_home and origin(explicit or "") != origin(direct.base)
        if stranger:
            if key is not None:
                read.document.report(
                    "warning",
                    (*read.path, "api_base"),
                    f"is not {provider}'s own address, so {direct.key_variables[0]} is not sent there.",
                    "Write `api_key: os.environ/NAME` next to it if the server needs a key.",
                )
            key = None
        elif direct.key_variables:
            needs.append("|".join(direct.key_variables))
    wrong = providers.wrong_address(base) if base else None
    if wrong:
        read.leave_out("api_base", wrong)
    base = base.rstrip("/")
    if direct.base_suffix and base and not base.endswith(direct.base_suffix):
        base += direct.base_suffix
    return base, key, needs


def engine_needs(provider: str, params: dict, direct: Direct | None) -> list[str]:
    if "api_key" in params or (provider == "vertex_ai" and "vertex_credentials" in params):
        return []
    if direct and provider not in ENGINE_NEEDS:
        own_home = "api_base" not in params and "base_url" not in params
        return ["|".join(direct.key_variables)] if direct.key_variables and own_home else []
    return list(ENGINE_NEEDS.get(provider, ()))
