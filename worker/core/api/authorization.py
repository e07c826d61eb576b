"""Who may call which endpoint of the admin API. Pure; `ledger.callers` looks up who calls and whose keys are meant.

An operator may call everything. For all others the default is a refusal: an endpoint that is not in `RULES` is for
operators only.
"""

from collections.abc import Mapping
from typing import NamedTuple

# LiteLLM's `key_type`: "" (its `default`) may do whatever a key may.
LLM_API, MANAGEMENT, READ_ONLY = "llm_api", "management", "read_only"


class Caller(NamedTuple):
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


OPERATOR = Caller(operator=True)

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


def operators_only(name: str) -> bool:
    """Whether nobody but an operator may call the endpoint, so that a call need not be read."""
    return name not in RULES


def refusal(caller: Caller, name: str, *, reads: bool) -> str | None:
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


def may_touch(caller: Caller, *, user_id: str, team_id: str, key_id: str, key_type: str, reads: bool) -> bool:
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
