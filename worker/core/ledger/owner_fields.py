"""The fields of those who own accounts besides keys, and of budgets that several owners share.

An owner is a team, a user, an end user or a tag. It spends on its account, `<kind>:<id>` in ledger_accounts. A budget
is a set of limits with a name: an owner or a key with its `budget_id` takes from it each limit that it does not have
itself, and still spends on its own account.
"""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

from ..values import fields as kinds
from ..values.fields import Field, FieldTable, Form
from .accounts import LIMIT_COLUMNS, Limits, limits_of

TEAM, USER, END_USER, TAG = KINDS = ("team", "user", "end_user", "tag")
MAX_MEMBERS = 1000
# LiteLLM's, without those of its organizations.
USER_ROLES = ("proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer")
MEMBER_ROLES = ("user", "admin")
_SINCE = 7

_NAME = Form("Name", wide=True)
_MODELS = Form("Models", "all", "Names, separated by commas; * stands for anything", wide=True)
_ALIASES = Form("Model aliases", "{}", 'A JSON object, such as {"fast": "gpt-4o-mini"}', wide=True, more=True)
_METADATA = Form("Metadata", "{}", "A JSON object", wide=True, more=True)
_BUDGET = Form("Budget in US dollars", "none")
_SOFT = Form("Alert at, in US dollars", "none", more=True)
_EACH = Form(
    "each",
    choices=(("1d", "day"), ("", "in total"), ("1h", "hour"), ("7d", "week"), ("30d", "month")),
    follows="max_budget",
)
_ROLES = Form(
    "Role",
    choices=(
        ("", "member"), ("internal_user_viewer", "member who only looks"), ("proxy_admin", "operator"),
        ("proxy_admin_viewer", "operator who only looks"),
    ),
)  # fmt: skip


# fmt: off
class Budget(NamedTuple):
    """A row of ledger_budgets. Money is in nano-dollars."""

    id: Annotated[str, Field(kinds.ID, shown="budget_id", since=_SINCE)]
    max_budget: Annotated[int | None, Field(
        kinds.USD, "max_budget", "US dollars that may be spent in a period", "--max-budget USD", _BUDGET,
        since=_SINCE)]
    soft_budget: Annotated[int | None, Field(
        kinds.USD, "soft_budget", "US dollars that may be spent in a period before somebody is told",
        "--soft-budget USD", _SOFT, since=_SINCE)]
    budget_duration: Annotated[str | None, Field(
        kinds.PERIOD, "budget_duration", "the period, such as 1h, 1d, 7d or 30d", "--budget-duration TIME", _EACH,
        since=_SINCE)]
    rpm_limit: Annotated[int | None, Field(
        kinds.COUNT, "rpm_limit", "requests a minute", "--rpm N", Form("Requests a minute", "no limit"), since=_SINCE)]
    tpm_limit: Annotated[int | None, Field(
        kinds.COUNT, "tpm_limit", "tokens a minute", "--tpm N", Form("Tokens a minute", "no limit"), since=_SINCE)]
    max_parallel_requests: Annotated[int | None, Field(
        kinds.COUNT, "max_parallel_requests", "requests at the same time", "--parallel N",
        Form("Requests at once", "no limit"), since=_SINCE)]
    created: Annotated[int, Field(kinds.MOMENT, shown="created_at", since=_SINCE)]
    updated: Annotated[int, Field(kinds.MOMENT, shown="updated_at", since=_SINCE)]
    declared: Annotated[int, Field(kinds.DECLARED, shown="declared", since=_SINCE)]

    @property
    def limits(self) -> Limits:
        return limits_of(self)


class Owner(NamedTuple):
    """A row of ledger_owners. `models`, `model_aliases`, `members` and `metadata` are JSON, money is in nano-dollars.
    `members`: of a team, [{"user_id", "role": one of MEMBER_ROLES}]. `role`: of a user, one of USER_ROLES or '' for
    none. `declared`: as in `keys`."""

    account: Annotated[str, Field(kinds.ID, since=_SINCE)]
    alias: Annotated[str | None, Field(
        kinds.TEXT, "alias", "what people call it", "--alias NAME", _NAME, since=_SINCE)]
    email: Annotated[str | None, Field(
        kinds.TEXT, "email", "a user's e-mail address; no other user has the same", "--email ADDRESS", Form("E-mail"),
        since=_SINCE)]
    role: Annotated[str, Field(
        kinds.choice(*USER_ROLES), "role", "what a user may do: see docs/sign-in.md; none means a member",
        "--role ROLE", _ROLES, since=_SINCE)]
    models: Annotated[str, Field(
        kinds.MODELS, "models", "models it may use, `*` for anything; none means all", "--models A,B", _MODELS,
        since=_SINCE)]
    budget_id: Annotated[str, Field(
        kinds.OWNER, "budget_id", "a budget that supplies the limits that are not set here", "--budget ID",
        Form("Shared budget", "none"), since=_SINCE)]
    max_budget: Annotated[int | None, Field(
        kinds.USD, "max_budget", "US dollars it may spend in a period", "--max-budget USD", _BUDGET, since=_SINCE)]
    soft_budget: Annotated[int | None, Field(
        kinds.USD, "soft_budget", "US dollars it may spend in a period before somebody is told", "--soft-budget USD",
        _SOFT, since=_SINCE)]
    budget_duration: Annotated[str | None, Field(
        kinds.PERIOD, "budget_duration", "the period, such as 1h, 1d, 7d or 30d", "--budget-duration TIME", _EACH,
        since=_SINCE)]
    rpm_limit: Annotated[int | None, Field(
        kinds.COUNT, "rpm_limit", "requests a minute", "--rpm N", Form("Requests a minute", "no limit"), since=_SINCE)]
    tpm_limit: Annotated[int | None, Field(
        kinds.COUNT, "tpm_limit", "tokens a minute", "--tpm N", Form("Tokens a minute", "no limit"), since=_SINCE)]
    max_parallel_requests: Annotated[int | None, Field(
        kinds.COUNT, "max_parallel_requests", "requests at the same time", "--parallel N",
        Form("Requests at once", "no limit"), since=_SINCE)]
    model_aliases: Annotated[str, Field(
        kinds.ALIASES, "model_aliases", "names that a team's requests may use, and the models they stand for",
        "--model-aliases JSON", _ALIASES, since=_SINCE)]
    members: Annotated[str, Field(kinds.LIST, since=_SINCE)]
    metadata: Annotated[str, Field(
        kinds.METADATA, "metadata", "anything, as a JSON object", "--metadata JSON", _METADATA, since=_SINCE)]
    blocked: Annotated[int, Field(kinds.FLAG, "blocked", "true refuses its requests", since=_SINCE)]
    created: Annotated[int, Field(kinds.MOMENT, shown="created_at", since=_SINCE)]
    updated: Annotated[int, Field(kinds.MOMENT, shown="updated_at", since=_SINCE)]
    declared: Annotated[int, Field(kinds.DECLARED, shown="declared", since=_SINCE)]

    @property
    def limits(self) -> Limits:
        """Without those of its `budget_id`."""
        return limits_of(self)

    @property
    def id(self) -> str:
        """Its id among those of its kind."""
        return self.account.partition(":")[2]
# fmt: on


BUDGETS, OWNERS = FieldTable(Budget), FieldTable(Owner)


class OwnerKind(NamedTuple):
    """A kind of owner. `name`: as in KINDS, before the colon of its accounts. `id`: the field with its id. `word`,
    `words`: what people call one and many. `longest`: of its ids. `table`: the fields that LiteLLM has for it."""

    name: str
    id: str
    word: str
    words: str
    longest: int
    table: FieldTable

    def account(self, id: str) -> str:
        return f"{self.name}:{id}"


def _table(names: Mapping[str, str], *same: str) -> FieldTable:
    return FieldTable(Owner, {**{name: name for name in (*LIMIT_COLUMNS, "budget_id", "blocked", *same)}, **names})


OF_KIND: dict[str, OwnerKind] = {
    kind.name: kind
    for kind in (
        OwnerKind(
            TEAM, "team_id", "team", "teams", 255,
            _table({"alias": "team_alias"}, "models", "model_aliases", "metadata"),
        ),
        OwnerKind(
            USER, "user_id", "user", "users", 255,
            _table({"alias": "user_alias", "email": "user_email", "role": "user_role"}, "models", "metadata"),
        ),
        OwnerKind(END_USER, "user_id", "end user", "customers", 255, _table({}, "alias")),
        OwnerKind(TAG, "name", "tag", "tags", kinds.MAX_TAG, _table({"alias": "description"})),
    )
}  # fmt: skip
