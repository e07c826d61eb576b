"""Teams, users, end users and tags, and the budgets that several of them share: their fields, and their rows as parts
of decisions.

An owner spends on its account, `<kind>:<id>` in ledger_accounts. A budget is a set of limits with a name: an owner or a
key with its `budget_id` takes from it each limit that it does not have itself, and still spends on its own account.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from ..values import fields as kinds
from ..values import periods
from ..values.fields import Field, FieldError, FieldTable, Form, is_printable
from . import admit, decision, keys
from .accounts import ALIASES, LIMIT_COLUMNS, Limits, limits_of, open_account, team_account, user_account
from .decision import Decision, Row, Steps, marks

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
# The limits that a budget and an owner have in common.
_BudgetDuration = Annotated[str | None, Field(
    kinds.PERIOD, "budget_duration", "the period, such as 1h, 1d, 7d or 30d", "--budget-duration TIME", _EACH,
    since=_SINCE)]
_Rpm = Annotated[int | None, Field(
    kinds.COUNT, "rpm_limit", "requests a minute", "--rpm N", Form("Requests a minute", "no limit"), since=_SINCE)]
_Tpm = Annotated[int | None, Field(
    kinds.COUNT, "tpm_limit", "tokens a minute", "--tpm N", Form("Tokens a minute", "no limit"), since=_SINCE)]
_Parallel = Annotated[int | None, Field(
    kinds.COUNT, "max_parallel_requests", "requests at the same time", "--parallel N",
    Form("Requests at once", "no limit"), since=_SINCE)]


class Budget(NamedTuple):
    """A row of ledger_budgets. Money is in nano-dollars."""

    id: Annotated[str, Field(kinds.ID, shown="budget_id", since=_SINCE)]
    max_budget: Annotated[int | None, Field(
        kinds.USD, "max_budget", "US dollars that may be spent in a period", "--max-budget USD", _BUDGET,
        since=_SINCE)]
    soft_budget: Annotated[int | None, Field(
        kinds.USD, "soft_budget", "US dollars that may be spent in a period before somebody is told",
        "--soft-budget USD", _SOFT, since=_SINCE)]
    budget_duration: _BudgetDuration
    rpm_limit: _Rpm
    tpm_limit: _Tpm
    max_parallel_requests: _Parallel
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
        kinds.OWNER_ID, "budget_id", "a budget that supplies the limits that are not set here", "--budget ID",
        Form("Shared budget", "none"), since=_SINCE)]
    max_budget: Annotated[int | None, Field(
        kinds.USD, "max_budget", "US dollars it may spend in a period", "--max-budget USD", _BUDGET, since=_SINCE)]
    soft_budget: Annotated[int | None, Field(
        kinds.USD, "soft_budget", "US dollars it may spend in a period before somebody is told", "--soft-budget USD",
        _SOFT, since=_SINCE)]
    budget_duration: _BudgetDuration
    rpm_limit: _Rpm
    tpm_limit: _Tpm
    max_parallel_requests: _Parallel
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


COLUMNS = ", ".join(f"o.{name}" for name in OWNERS.columns)
_BY_ACCOUNT = f"SELECT {COLUMNS} FROM ledger_owners o WHERE o.account = ?"
_LONGEST_EMAIL = OF_KIND[USER].longest
_OWNERS_IN = f"SELECT o.account, o.models, o.blocked, {ALIASES} FROM ledger_owners o WHERE o.account IN "
_NEW = {**OWNERS.defaults, "members": "[]", "declared": 0}
_COLUMNS = ("account", *_NEW, "created", "updated")
_INSERT = (
    f"INSERT INTO ledger_owners ({', '.join(_COLUMNS)}) VALUES ({marks(len(_COLUMNS))}) "
    "ON CONFLICT (account) DO NOTHING"
)
_BY_ALIAS = "SELECT o.account FROM ledger_owners o WHERE o.alias = ? AND o.account LIKE 'team:%' LIMIT 2"
# Names per statement: a Durable Object's SQL accepts at most 100 parameters.
_MOST_NAMES = 64


def insert(kind: OwnerKind, id: str, wanted: Mapping[str, Any], now: int, *, declared: int = 0) -> Steps:
    """Inserts a row and opens its account, as a part of another decision. `wanted`: its columns."""
    values = {**OWNERS.defaults, **wanted}
    row = {
        "account": kind.account(id), "members": "[]", **values, "created": now, "updated": now, "declared": declared,
    }  # fmt: skip
    yield f"INSERT INTO ledger_owners ({', '.join(row)}) VALUES ({marks(len(row))})", tuple(row.values())
    yield open_account(kind.account(id), periods.start(values["budget_duration"], now))


def change(account: str, values: Mapping[str, Any], now: int) -> Steps:
    if values.get("blocked") and account.startswith("user:"):  # not to come back when it is unblocked
        yield from end_sessions(account.removeprefix("user:"), now)
    values = {**values, "updated": now}
    sql = f"UPDATE ledger_owners SET {', '.join(f'{name} = ?' for name in values)} WHERE account = ?"
    yield sql, (*values.values(), account)


def end_sessions(user_id: str, now: int) -> Steps:
    """Ends a user's sessions (see `callers`), as a part of another decision. Returns how many."""
    rows = yield (
        "UPDATE ledger_sessions SET expires = ? WHERE user_id = ? AND expires > ? AND seen + idle > ? RETURNING hash",
        (now, user_id, now, now),
    )
    return len(rows)


def valid_id(kind: OwnerKind, id: Any, param: str) -> str:
    if not is_printable(id, kind.longest):
        raise FieldError(param, f"'{param}' has to be a string of 1 to {kind.longest} printable characters.")
    return id


def find(kind: OwnerKind, id: Any, param: str) -> Steps:
    """Returns (owner, None) or (None, refusal). Raises FieldError for what is no id."""
    if id is None:
        raise FieldError(param, f"'{param}' is missing.")
    rows = yield _BY_ACCOUNT, (kind.account(valid_id(kind, id, param)),)
    if not rows:
        return None, decision.not_found(f"There is no {kind.word} '{id}'.", param)
    return Owner._make(rows[0]), None


def changeable(kind: OwnerKind, id: Any, param: str) -> Steps:
    """Like `find`, but refuses owners in the config file: the next start would undo the change."""
    found, refused = yield from find(kind, id, param)
    if found is not None and found.declared == keys.DECLARED:
        return None, in_the_file(kind)
    return found, refused


def in_the_file(kind: OwnerKind) -> dict[str, Any]:
    return decision.invalid(
        f"This {kind.word} stands in the config file (general_settings.{kind.words}): change it there.", kind.id
    )


def by_email(email: Any, param: str = "user_email") -> Steps:
    """Returns (owner or None, None), or (None, refusal)."""
    if not is_printable(email, _LONGEST_EMAIL):
        raise FieldError(param, f"'{param}': an e-mail address has to be a string of printable characters.")
    rows = yield f"SELECT {COLUMNS} FROM ledger_owners o WHERE LOWER(o.email) = LOWER(?) LIMIT 2", (email,)
    if len(rows) > 1:
        return None, decision.invalid("Several users have this e-mail address: use 'user_id'.", param)
    return (Owner._make(rows[0]) if rows else None), None


def teams_of(user_id: str) -> Steps:
    """Returns the Owners of the teams that a user is in, as a part of another decision."""
    condition, parameters = has_member(user_id)
    rows = yield f"SELECT {COLUMNS} FROM ledger_owners o WHERE {condition} ORDER BY o.account", parameters
    return [Owner._make(row) for row in rows]


def has_member(user_id: str) -> tuple[str, tuple[str, ...]]:
    # Not LIKE, whose patterns a Durable Object limits to 50 bytes. A quotation mark within an id is escaped.
    return (
        "o.account LIKE 'team:%' AND REPLACE(o.members, ?, '') <> o.members",
        (f'{{"user_id": {json.dumps(user_id)}, ',),
    )


def of_token(
    user_id: str,
    teams: Sequence[str],
    *,
    add_user: bool,
    add_team: bool,
    chosen: bool,
    now: int,
    team_alias: str = "",
) -> Decision:
    """Finds the users and teams that a JWT names.

    Returns {"ok": True, "models": the user's, "teams": [[team_id, models], …], "aliases": {team_id: aliases}} or a
    refusal. `models` are JSON lists, empty for all. `aliases` are JSON objects with the models that they stand for; a
    team without them is left out.

    `user_id`: '' for none. `teams`: those of the token, the best first; blocked and unknown ones are left out.
    `team_alias`: of the only team, '' if `teams` has it. `chosen`: any of them will do. `add_user`, `add_team`: create
    them if they do not exist; never by an alias.
    """
    add_team = add_team and not chosen
    return Decision(_of_token(user_id, teams, team_alias, add_user, add_team, now), transaction=add_user or add_team)


def _of_token(user_id: str, teams: Sequence[str], team_alias: str, add_user: bool, add_team: bool, now: int) -> Steps:
    if team_alias:
        found = yield _BY_ALIAS, (team_alias,)
        if len(found) != 1:
            return _no_team(team_alias, several=bool(found))
        teams, add_team = [found[0][0].partition(":")[2]], False
    wanted = [*([user_account(user_id)] if user_id else []), *map(team_account, teams)]
    rows: dict[str, Row] = {}
    for first in range(0, len(wanted), _MOST_NAMES):
        part = wanted[first : first + _MOST_NAMES]
        rows |= {row[0]: row for row in (yield f"{_OWNERS_IN}({marks(len(part))})", tuple(part))}
    missing = [account for account in wanted if account not in rows]
    new = [account for account in missing if (add_user if account.startswith("user:") else add_team)]
    for account in new:
        yield open_account(account, 0)
        yield _INSERT, (account, *_NEW.values(), now, now)
        rows[account] = (account, "[]", 0, None)
    user = rows.get(user_account(user_id)) if user_id else None
    if user_id and user is None:
        return decision.unauthenticated(f"User={user_id} doesn't exist. Create it via `/user/new`.")
    if user is not None and user[2]:
        return decision.refuse(403, "permission_error", f"The user '{user_id}' is blocked.", code="blocked")
    serving = {team: row for team in teams if (row := rows.get(team_account(team))) is not None and not row[2]}
    if teams and not serving:
        return admit.team_refusal(teams[0], blocked=team_account(teams[0]) in rows)
    return {
        "ok": True,
        "models": user[1] if user else "[]",
        "teams": [[team, row[1]] for team, row in serving.items()],
        "aliases": {team: row[3] for team, row in serving.items() if row[3]},  # older Workers ignore them
    }


def _no_team(alias: str, *, several: bool) -> decision.Result:
    """In LiteLLM's words."""
    if several:
        return decision.refuse(
            403, "permission_error", f"Multiple teams found with alias '{alias}', so this JWT names none of them."
        )
    return decision.unauthenticated(f"Team with alias '{alias}' doesn't exist. Create it via `/team/new`.")
