"""Vertex AI's own settings of a deployment: whose project, where, and with which credentials."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from . import address, google_credentials
from .parameters import Parameters

# litellm_params, each under two names.
PARAMETERS = frozenset(
    f"{prefix}_{name}" for prefix in ("vertex", "vertex_ai") for name in ("project", "location", "credentials")
)
CREDENTIALS = google_credentials.VARIABLE
BASES = ("VERTEXAI_API_BASE", "VERTEX_API_BASE")
PROJECTS = ("VERTEXAI_PROJECT", "VERTEX_PROJECT")
LOCATIONS = ("VERTEXAI_LOCATION", "VERTEX_LOCATION")
# Both become part of an address.
_NAME = re.compile(r"[a-z][a-z0-9-]*$")
_PROJECT = re.compile(r"[a-z0-9.:-]+$")


@dataclass(frozen=True, slots=True)
class Vertex:
    """`credentials`: the path of a key's file or its JSON; empty when no token may be sent to the address. `project`:
    None where the credentials name it; `location`: None where the model has a default."""

    credentials: str = field(repr=False)
    project: str | None
    location: str | None


def parse(read: Parameters) -> tuple[Vertex, str, list[str]]:
    """The settings, the base URL (empty: Google's own, which depends on the location) and the needs."""
    needs: list[str] = []
    explicit = read.text("api_base") or read.text("base_url")
    base = (explicit or _first(read.environment, BASES) or "").rstrip("/")
    wrong = address.wrong(base) if base else None
    if wrong:
        read.leave_out("api_base", wrong)
    named = "vertex_credentials" in read.params or "vertex_ai_credentials" in read.params
    credentials = _credentials(read, "vertex_credentials") or _credentials(read, "vertex_ai_credentials")
    if not named:
        credentials = read.environment.get(CREDENTIALS, "")
        # As with any provider's key: the default one goes to its own address, or one the environment names.
        if explicit and not re.match(r"https://[a-z0-9.-]+\.googleapis\.com(?:/|$)", explicit):
            read.document.report(
                "warning",
                (*read.path, "api_base"),
                f"is not Vertex AI's own address, so {CREDENTIALS} is not used there.",
                f"Write `vertex_credentials: os.environ/{CREDENTIALS}` beside it if it needs a token.",
            )
            credentials = ""
        else:
            needs.append(CREDENTIALS)
    _look_at(read, credentials)
    project = read.text("vertex_project") or read.text("vertex_ai_project") or _first(read.environment, PROJECTS)
    location = read.text("vertex_location") or read.text("vertex_ai_location") or _first(read.environment, LOCATIONS)
    for name, value, form in (("vertex_project", project, _PROJECT), ("vertex_location", location, _NAME)):
        if value is not None and not form.match(value):
            mend = "Write for example `global`." if form is _NAME else "Write the project's id."
            read.leave_out(name, f"{value!r} is not the name of one", mend)
    return Vertex(credentials, project, location), base, needs


def _credentials(read: Parameters, name: str) -> str:
    """The key may stand in the file as a mapping."""
    value = read.value(name)
    return json.dumps(value) if isinstance(value, dict) else read.text(name) or ""


def _look_at(read: Parameters, credentials: str) -> None:
    """Says what is wrong with a key as far as it can be seen from here; what Google thinks of it shows at a request."""
    message = google_credentials.wrong(credentials.strip()) if credentials else None
    if message and credentials != read.environment.get(CREDENTIALS):  # of which it is said already
        mend = "Give a service account's key, as JSON or as the path of a file."
        read.document.report("warning", (*read.path, "vertex_credentials"), f"{message}.", mend)


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)
