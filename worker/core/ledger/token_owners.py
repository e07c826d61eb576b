"""Which users and teams that a JWT names exist here, and what they may use."""

from collections.abc import Sequence

from . import admit, decision
from .accounts import ALIASES, open_account, team_account, user_account
from .decision import Decision, Row, Steps, marks
from .owner_fields import OWNERS

_OWNERS = f"SELECT o.account, o.models, o.blocked, {ALIASES} FROM ledger_owners o WHERE o.account IN "
_NEW = {**OWNERS.defaults, "members": "[]", "declared": 0}
_COLUMNS = ("account", *_NEW, "created", "updated")
_INSERT = (
    f"INSERT INTO ledger_owners ({', '.join(_COLUMNS)}) VALUES ({marks(len(_COLUMNS))}) "
    "ON CONFLICT (account) DO NOTHING"
)
_BY_ALIAS = "SELECT o.account FROM ledger_owners o WHERE o.alias = ? AND o.account LIKE 'team:%' LIMIT 2"
# Names per statement: a Durable Object's SQL accepts at most 100 parameters.
_MOST_NAMES = 64


def find(
    user_id: str,
    teams: Sequence[str],
    *,
    add_user: bool,
    add_team: bool,
    chosen: bool,
    now: int,
    team_alias: str = "",
) -> Decision:
    """Returns {"ok": True, "models": the user's, "teams": [[team_id, models], …], "aliases": {team_id: aliases}} or a
    refusal. `models` are JSON lists, empty for all. `aliases` are JSON objects with the models that they stand for; a
    team without them is left out.

    `user_id`: '' for none. `teams`: those of the token, the best first; blocked and unknown ones are left out.
    `team_alias`: of the only team, '' if `teams` has it. `chosen`: any of them will do. `add_user`, `add_team`: create
    them if they do not exist; never by an alias.
    """
    add_team = add_team and not chosen
    return Decision(_find(user_id, teams, team_alias, add_user, add_team, now), transaction=add_user or add_team)


def _find(user_id: str, teams: Sequence[str], team_alias: str, add_user: bool, add_team: bool, now: int) -> Steps:
    if team_alias:
        found = yield _BY_ALIAS, (team_alias,)
        if len(found) != 1:
            return _no_team(team_alias, several=bool(found))
        teams, add_team = [found[0][0].partition(":")[2]], False
    wanted = [*([user_account(user_id)] if user_id else []), *map(team_account, teams)]
    rows: dict[str, Row] = {}
    for first in range(0, len(wanted), _MOST_NAMES):
        part = wanted[first : first + _MOST_NAMES]
        rows |= {row[0]: row for row in (yield f"{_OWNERS}({marks(len(part))})", tuple(part))}
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
