"""The HTTP side of the admin API, shared by the edge and the proxy; and who may call which of its endpoints.

A request becomes a call, a plain dict that `ledger.administration` decides. The ledger's result becomes the response
body or an ApiError. `ledger.callers` looks up who calls and whose keys are meant.

An operator may call everything. For all others the default is a refusal: an endpoint that is not in `RULES` is for
operators only.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from .auth import same_secret
from .endpoints import Endpoint, key_of
from .errors import ApiError, forbidden, invalid_request, refused

ADMIN_BODY_MB = 1.0
# Responses contain secrets and change with the next call.
HEADERS = (("cache-control", "no-store"),)
_MAX_PARAMETERS = 50
# Fields and parameters that may hold a key's secret.
_NAMING = ("key", "new_key", "keys", "api_key", "key_hash", "search")
# The JSON escape, not a backslash followed by the text "u0000".
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def call(endpoint: Endpoint, path: str, query: str, body: bytes, master_key: str | None = None) -> dict[str, Any]:
    """Parses a request into a call. An empty body means no fields. `query` is raw, without the `?`.

    Raises ApiError 400.
    """
    key = key_of(path) if endpoint.name == "key_regenerate" else None
    posted = "POST" in endpoint.methods
    sent = _fields(body) if posted else _parameters(query)
    _refuse_nul(sent)
    if master_key:
        _refuse_master_key(key, sent, master_key)
    return {
        "name": endpoint.name,
        "key": key,
        "query": {} if posted else sent,
        "body": sent if posted else None,
    }


def answer(result: dict[str, Any]) -> Any:
    """Returns the response body. Raises ApiError if the ledger refused the call."""
    if result["ok"]:
        return result["body"]
    raise refused(result)


def operators_only() -> ApiError:
    return forbidden("This call needs the master key or an operator.")


def _parameters(query: str) -> dict[str, str]:
    try:
        query.encode("utf-8")  # invalid UTF-8 arrives as lone surrogates
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        raise invalid_request("The query cannot be read.") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise invalid_request(f"'{name[:100]}' appears more than once.", param=name[:100])
        found[name] = value
    return found


def _fields(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        fields = json.loads(body, parse_constant=_no_number)
        body.decode("utf-8")
        # Rejects lone surrogates, which are not valid text, and 1e999, which JSON cannot represent.
        json.dumps(fields, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise invalid_request("The request body is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise invalid_request("The request body must be a JSON object.")
    return fields


def _refuse_nul(sent: Mapping[str, Any]) -> None:
    """PostgreSQL cannot store NUL in text."""
    for name, value in sent.items():
        if _NUL.search(json.dumps([name, value])):
            raise invalid_request(f"'{name[:100]}' must not contain NUL characters.", param=name[:100])


def _refuse_master_key(key: str | None, sent: Mapping[str, Any], master_key: str) -> None:
    """The master key takes precedence over virtual keys, so a key with the same secret would have no limits."""
    named = [("key", key)]
    for name in _NAMING:
        value = sent.get(name)
        named += [(name, one) for one in (value if isinstance(value, list) else [value])]
    for name, value in named:
        if isinstance(value, str) and same_secret(value, master_key):
            message = f"'{name}' is the master key, not a virtual key. It has no limits and cannot be changed here."
            raise invalid_request(message, param=name)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


# LiteLLM's `key_type`: "" (its `default`) may do whatever a key may.
LLM_API, MANAGEMENT, READ_ONLY = "llm_api", "management", "read_only"


class AdminCaller(NamedTuple):
    """Who makes a call.

    `operator`: may do everything, or see everything with `reads_only`. A person has a `user_id`, `teams` that it may
    make keys in, and `admin_of`, those that it administers. A virtual key has a `key_id`, its `key_type`, and in
    `teams` its team, if any.
    """

    operator: bool = False
    reads_only: bool = False
    user_id: str = ""
    teams: tuple[str, ...] = ()
    admin_of: tuple[str, ...] = ()
    key_id: str = ""
    key_type: str = ""

    @property
    def role(self) -> str:
        """Its role in `RULES`, unless it is an operator."""
        if not self.key_id:
            return "team_admin" if self.admin_of else "member"
        if self.key_type == MANAGEMENT:
            return "management"
        return "llm_api" if self.key_type == LLM_API else "key"


OPERATOR = AdminCaller(operator=True)

_PEOPLE = frozenset(("member", "team_admin"))
_MAKES_KEYS = _PEOPLE | {"management"}
_TEAM = frozenset(("team_admin", "management"))
_ADMIN = frozenset(("team_admin",))
# Which roles may call an endpoint. How far the call then reaches is decided by `ledger.callers`.
RULES: Mapping[str, frozenset[str]] = {
    "key_generate": _MAKES_KEYS,
    "key_update": _MAKES_KEYS,
    "key_delete": _MAKES_KEYS,
    "key_regenerate": _MAKES_KEYS,
    "key_block": _TEAM,
    "key_unblock": _TEAM,
    "key_info": _MAKES_KEYS | {"key"},
    "key_list": _MAKES_KEYS,
    "spend_logs": _PEOPLE,
    "spend_keys": _PEOPLE,
    "spend_activity": _PEOPLE,
    "team_info": _MAKES_KEYS,
    "team_list": _PEOPLE,
    "team_member_add": _ADMIN,
    "team_member_update": _ADMIN,
    "team_member_delete": _ADMIN,
    "user_info": _PEOPLE,
    "model_info": _MAKES_KEYS | {"key", "llm_api"},
}
# Calls with a body that change nothing.
READS_BY_POST = frozenset(("tag_info", "budget_info"))
# The fields of a key that its owner may set. Not its secret, which others could guess or test for; not its `budget_id`,
# whose limits belong to an operator; and not `blocked`, which would undo an operator's decision.
KEY_FIELDS = frozenset(
    (
        "key_alias", "models", "metadata", "tags", "max_budget", "soft_budget", "budget_duration", "rpm_limit",
        "tpm_limit", "max_parallel_requests", "duration", "keep_output_limit", "key_type", "team_id", "user_id",
        "grace_period",
    )
)  # fmt: skip


def is_for_operators(name: str) -> bool:
    """Whether nobody but an operator may call the endpoint, so that a call need not be read."""
    return name not in RULES


def call_refusal(caller: AdminCaller, name: str, *, reads: bool) -> str | None:
    """Returns why the caller may not call the endpoint at all. `reads`: the call changes nothing."""
    if not reads and (caller.reads_only or caller.key_type == READ_ONLY):
        return "This account may look, but not change anything."
    if caller.operator:
        return None
    if caller.role not in RULES.get(name, ()):
        return "This call needs the master key or an operator."
    if caller.role == "management" and not caller.teams:
        return "A management key needs a team_id: it works within that team only."
    return None


def may_touch(caller: AdminCaller, *, user_id: str, team_id: str, key_id: str, key_type: str, reads: bool) -> bool:
    """Whether the caller may see or change this key. Applies to callers who are not operators."""
    if caller.key_id:
        if key_id == caller.key_id:
            return reads
        return (
            caller.key_type == MANAGEMENT
            and bool(team_id)
            and team_id in caller.teams
            and (reads or key_type != MANAGEMENT)
        )
    own = bool(caller.user_id) and user_id == caller.user_id
    return own or (bool(team_id) and team_id in caller.admin_of)
