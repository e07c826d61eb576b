"""The table of paths, their methods and who serves them.

Every path exists with and without the `/v1` prefix, except for those of Gemini's API (google.py). Paths are not
normalized: `//`, `..` and encoded slashes never match.
"""

import re
from typing import NamedTuple
from urllib.parse import unquote

from . import google
from .errors import Dialect, no_websocket, unknown_path, wrong_method


class Endpoint(NamedTuple):
    """An endpoint of the API.

    `name`: the handlers' name for it. `path`: without `/v1`. `public`: no key needed. `engine`: served by LiteLLM.
    `admin`: for operators; `api.admin` says who else may call it. `free`: costs nothing and needs no admission,
    although it is a POST.
    """

    name: str
    path: str
    methods: tuple[str, ...]
    public: bool = False
    engine: bool = False
    admin: bool = False
    free: bool = False

    @property
    def billable(self) -> bool:
        """Whether the ledger has to admit the request."""
        return self.methods == ("POST",) and not (self.admin or self.free)


def _get(name: str, path: str, *, public: bool = False) -> Endpoint:
    return Endpoint(name, path, ("GET", "HEAD"), public=public)


def _post(name: str, path: str, *, engine: bool = False) -> Endpoint:
    return Endpoint(name, path, ("POST",), engine=engine)


def _admin(method: str, name: str, path: str) -> Endpoint:
    return Endpoint(name, path, ("POST",) if method == "POST" else ("GET", "HEAD"), admin=True)


_OWNER_ACTIONS = (
    ("POST", "new"), ("POST", "update"), ("POST", "delete"), ("POST", "block"), ("POST", "unblock"), ("GET", "info"),
    ("GET", "list"),
)  # fmt: skip

TABLE: dict[str, Endpoint] = {
    e.path: e
    for e in (
        _get("root", "/", public=True),
        _get("health", "/health", public=True),
        _get("liveliness", "/health/liveliness", public=True),
        _get("liveness", "/health/liveness", public=True),
        _get("readiness", "/health/readiness", public=True),
        _get("openapi", "/openapi.json", public=True),
        _get("metrics", "/metrics"),
        _get("dashboard", "/dashboard", public=True),
        _get("session", "/dashboard/session", public=True),
        _get("sign_in", "/dashboard/sign-in", public=True),
        _get("sign_in_callback", "/dashboard/sign-in/callback", public=True),
        Endpoint("sign_out", "/dashboard/sign-out", ("POST",), public=True, free=True),
        _get("models", "/models"),
        _post("chat_completions", "/chat/completions"),
        _post("completions", "/completions"),
        _post("embeddings", "/embeddings"),
        _post("messages", "/messages"),
        _post("count_tokens", "/messages/count_tokens"),
        _post("responses", "/responses"),
        _post("compact", "/responses/compact"),
        _post("input_tokens", "/responses/input_tokens"),
        # An allow-list: LiteLLM serves about 150 paths, many of them administrative.
        _post("image_generation", "/images/generations", engine=True),
        _post("image_edit", "/images/edits", engine=True),
        _post("image_variation", "/images/variations", engine=True),
        _post("speech", "/audio/speech", engine=True),
        _post("transcription", "/audio/transcriptions", engine=True),
        _post("translation", "/audio/translations", engine=True),
        _post("rerank", "/rerank", engine=True),
        _post("moderations", "/moderations", engine=True),
        _admin("POST", "key_generate", "/key/generate"),
        _admin("POST", "key_update", "/key/update"),
        _admin("POST", "key_delete", "/key/delete"),
        _admin("POST", "key_block", "/key/block"),
        _admin("POST", "key_unblock", "/key/unblock"),
        _admin("GET", "key_info", "/key/info"),
        _admin("GET", "key_list", "/key/list"),
        *(
            _admin(method, f"{owner}_{action}", f"/{owner}/{action}")
            for owner in ("team", "user", "customer", "end_user", "tag")
            for method, action in _OWNER_ACTIONS
            # As in LiteLLM, who asks for tags names them in the body; users and tags have a field for `block`.
            if not (owner in ("user", "tag") and action in ("block", "unblock")) and (owner, action) != ("tag", "info")
        ),
        _admin("POST", "team_member_add", "/team/member_add"),
        _admin("POST", "team_member_update", "/team/member_update"),
        _admin("POST", "team_member_delete", "/team/member_delete"),
        _admin("GET", "team_page", "/v2/team/list"),
        _admin("POST", "tag_info", "/tag/info"),
        _admin("POST", "budget_new", "/budget/new"),
        _admin("POST", "budget_update", "/budget/update"),
        _admin("POST", "budget_delete", "/budget/delete"),
        _admin("POST", "budget_info", "/budget/info"),
        _admin("GET", "budget_settings", "/budget/settings"),
        _admin("GET", "budget_list", "/budget/list"),
        _admin("GET", "spend_logs", "/spend/logs"),
        _admin("GET", "spend_keys", "/spend/keys"),
        _admin("GET", "spend_activity", "/spend/activity"),
        _admin("GET", "global_spend", "/global/spend"),
        _admin("GET", "model_info", "/model/info"),
        _admin("POST", "session_revoke", "/dashboard/sessions/revoke"),
    )
}
# Endpoints of the dashboard's sign-in.
SIGN_IN = frozenset(("session", "sign_in", "sign_in_callback", "sign_out"))
# Endpoints of Anthropic's Messages API.
ANTHROPIC = frozenset(("messages", "count_tokens"))
# Endpoints of Gemini's API, by name.
GOOGLE: dict[str, Endpoint] = {
    e.name: e
    for e in (
        _get("google_models", "/v1beta/models"),
        _get("google_model", "/v1beta/models/{id}"),
        *(_post(name, f"/v1beta/models/{{id}}:{method}") for method, name in google.METHODS.items()),
    )
}
MODEL = _get("model", "/models/{id}")
RESPONSE = Endpoint("response", "/responses/{id}", ("GET", "HEAD", "DELETE"))
CANCEL_RESPONSE = Endpoint("cancel_response", "/responses/{id}/cancel", ("POST",), free=True)
INPUT_ITEMS = _get("input_items", "/responses/{id}/input_items")
# Endpoints of a response that was made before.
OF_A_RESPONSE = {"": RESPONSE, "/cancel": CANCEL_RESPONSE, "/input_items": INPUT_ITEMS}
DASHBOARD_FILE = _get("dashboard_file", "/dashboard/{file}", public=True)
KEY_REGENERATE = _admin("POST", "key_regenerate", "/key/{key}/regenerate")
ALL = (*TABLE.values(), MODEL, *OF_A_RESPONSE.values(), DASHBOARD_FILE, KEY_REGENERATE, *GOOGLE.values())
# Endpoints that call a model, so that a request may cost money.
CALLS_A_MODEL = frozenset(e.name for e in ALL if e.billable)
_KEY_REGENERATE = re.compile(r"/key/([^/]+)/regenerate")
_OF_A_RESPONSE = re.compile(r"/responses/([^/]+)(/cancel|/input_items|)")
_DASHBOARD_FILE = re.compile(r"/dashboard/[A-Za-z]+\.[A-Za-z]+")


def find(method: str, path: str, upgrade: str | None = None) -> Endpoint:
    """Returns the endpoint at `path` (raw, without the query). `upgrade`: the request's `Upgrade` header.

    Raises ApiError 404, 405 with `Allow`, or 426 where OpenAI's clients try a WebSocket first.
    """
    bare = path[3:] if path.startswith("/v1/") else path
    endpoint = TABLE.get(bare) or _with_a_name(bare, path)
    if endpoint is None:
        raise unknown_path(path)
    if endpoint.name == "responses" and method == "GET" and (upgrade or "").strip().lower() == "websocket":
        raise no_websocket(path)
    if method not in endpoint.methods:
        raise wrong_method(method, path, endpoint.methods)
    return endpoint


def dialect_of(path: str) -> Dialect:
    """Returns whose format the clients of this path expect errors in. The path need not exist."""
    endpoint = TABLE.get(path[3:] if path.startswith("/v1/") else path)
    if endpoint is not None:
        return dialect(endpoint)
    return "google" if google.is_googles(path) else "openai"


def dialect(endpoint: Endpoint) -> Dialect:
    if endpoint.name in ANTHROPIC:
        return "anthropic"
    return "google" if endpoint.name in GOOGLE else "openai"


def path_of(url: str) -> str:
    """Returns the path of an absolute URL, without its query."""
    return "/" + url.partition("://")[2].partition("/")[2].partition("?")[0]


def _with_a_name(bare: str, path: str) -> Endpoint | None:
    found = google.endpoint(path) if "/models" in path else None
    if found is not None:
        return GOOGLE[found]
    if bare.startswith("/models/") and len(bare) > len("/models/"):
        return MODEL
    of_a_response = _OF_A_RESPONSE.fullmatch(bare)
    if of_a_response:
        return OF_A_RESPONSE[of_a_response[2]]
    if _DASHBOARD_FILE.fullmatch(bare):
        return DASHBOARD_FILE
    return KEY_REGENERATE if _KEY_REGENERATE.fullmatch(bare) else None


def model_id(path: str) -> str:
    """Returns the decoded `{id}` of `/models/{id}`. It may contain slashes, as in `azure/gpt-4o`."""
    return unquote(path.split("/models/", 1)[1])


def response_id(path: str) -> str:
    """Returns the decoded `{id}` of `/responses/{id}` and the paths below it."""
    found = _OF_A_RESPONSE.search(path)
    assert found, "find() has matched it"
    return unquote(found[1])


def dashboard_file(path: str) -> str | None:
    """Returns the `{file}` of `/dashboard/{file}`; None for the page itself."""
    return path.partition("/dashboard/")[2] or None


def key_of(path: str) -> str:
    """Returns the decoded `{key}` of `/key/{key}/regenerate`."""
    found = _KEY_REGENERATE.search(path)
    assert found, "find() has matched it"
    return unquote(found[1])
