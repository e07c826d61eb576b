"""Decides whether a request is admitted, and which values it writes and returns. `batch` does the reads and writes.

Checks run in this order: the key (401), whether its team (401), its user or the end user (403) is blocked, what the
model's name stands for (see `AdmissionRequest.named`), the models (403), a known price if there is a budget (400), rate
limits and budgets (429). Limits are checked for the key, its user, its team, the end user, the tags, and everyone. Only
admitted requests are counted.

Routing passes over a deployment whose own or whose provider's budget is used up. A request is refused for that only if
no deployment is left.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from math import inf
from typing import Any, NamedTuple

from ..values import claims
from ..values.money import OutputSteps, fitting_step
from . import decision, keys
from .accounts import (
    ALIASES,
    GLOBAL,
    MOST_AT_ONCE,
    NO_LIMITS,
    Account,
    Limits,
    Terms,
    budget_refusal,
    end_user_account,
    fits_an_empty_budget,
    key_account,
    kind_of,
    limit_headers,
    money_left,
    rate_refusal,
    tag_account,
    team_account,
    tokens_for,
    too_expensive,
    user_account,
)
from .decision import Decision, Steps
from .keys import Key

# Blocked, expired and replaced keys share one message, so that guessing does not reveal which keys exist.
_NOT_VALID = "This API key is not valid here."
_BY_SECRET = f"""SELECT s.expires, {keys.COLUMNS}
FROM ledger_secrets s JOIN ledger_keys k ON k.id = s.key_id WHERE s.hash = ?"""
_OWNERS = f"SELECT o.account, o.alias, o.blocked, o.models, {ALIASES} FROM ledger_owners o WHERE o.account IN (?, ?)"


_NONE: frozenset[str] = frozenset()
_NO_ALIASES: Mapping[str, str] = {}
_CLAIMED = ("end_user:", "tag:")
# The code of an error: a model's name stands for another model than it did a moment ago.
ALIAS_CHANGED = "alias_changed"


class AdmissionRequest(NamedTuple):
    """A request to be admitted.

    `id`: new and unique; names the reservation. `secret_hash`: of the presented key, None for the master key.
    `amount`: the most the request can cost, in nano-dollars, None if unknown; `unpriced` then gives the reason and the
    fix. `tokens`: the most it can use, prompt and completion. `instance`: the container that will serve it, '' if not
    yet known. `lease`: milliseconds until the reservation expires unless renewed or settled. `sized`: False until
    `amount` and `tokens` have been computed. `request_id`: the client's own name for the request, '' if it has none;
    need not be unique. `tags`: the request's, see `claims.Claims`. `steps`: what it costs with lower
    output limits, see `values.money`; the last one has `amount` and `tokens`. Empty if its limit cannot be
    lowered. `without_limit`: the client set no output limit. `user_id`, `team_id`: of a caller without a virtual key,
    '' for the master key. `end_user`: as the client names it, see `claims`. `candidates`: for each deployment that may
    answer, the ids of its accounts, such as its provider's; empty if no deployment has any. `named`: the client's name
    for the model, if that is an alias of its team and `model` is what it stands for; '' if the client named `model`.
    """

    id: str
    secret_hash: str | None
    model: str
    endpoint: str
    amount: int | None
    tokens: int
    instance: str
    lease: int
    unpriced: str = ""
    sized: bool = True
    request_id: str = ""
    tags: str = ""
    steps: OutputSteps = ()
    without_limit: bool = False
    user_id: str = ""
    team_id: str = ""
    end_user: str = ""
    candidates: tuple[tuple[str, ...], ...] = ()
    named: str = ""

    @property
    def caller(self) -> "Caller":
        return Caller(self.secret_hash, self.user_id, self.team_id, self.end_user, self.tags, self.candidates)

    @property
    def line(self) -> tuple[str, frozenset[str]]:
        """Its line, and the accounts that it names; see `waiting_line`."""
        named = _NONE
        if self.end_user or self.tags or self.candidates:
            named = frozenset(chain(drawn_on(None, self.caller), *self.candidates))
        return self.secret_hash or f"{self.user_id} {self.team_id}", named


class Caller(NamedTuple):
    """The fields of a request that decide which accounts it draws on."""

    secret_hash: str | None
    user_id: str
    team_id: str
    end_user: str
    tags: str
    candidates: tuple[tuple[str, ...], ...]

    def named(self) -> list[str]:
        """Returns the ids of those accounts that it draws on whatever its key is."""
        if self[1:] == _NO_ONE:
            return []
        return [name for some in (drawn_on(None, self)[:-1], *self.candidates) for name in some]


_NO_ONE = ("", "", "", "", ())


# The response header with an output limit that was lowered to fit.
OUTPUT_LIMIT_HEADER = "x-litellm-output-limit"
# A limit applies to the request: compute its amount and tokens, then try again.
UNSIZED = {"ok": False, "unsized": True}


Payer = tuple[Account, Limits]


class Principal(NamedTuple):
    """The key of a request and the accounts that pay for it, in the order of checks. An unknown key has no accounts.

    `barred`: the refusal if its team, its user or the end user is blocked. `rated`, `budgeted`: the accounts with such
    limits. `candidates`: the accounts of each deployment that may answer. `limited`: a budget or a token limit applies.
    `models`: those that key, team and user all allow, and the team's aliases, a JSON list, empty for all. `aliases`:
    the models that its team's aliases stand for. `who`, `starts`, `team_id`, `tags`,
    `others`: the columns of the request's row that follow from the key and its accounts; `others` as a list, and
    without the candidates' accounts. `terms`: of the owners of accounts.
    """

    key: Key | None = None
    secret_expires: int | None = None
    barred: decision.Result | None = None
    accounts: Sequence[Payer] = ()
    rated: Sequence[Payer] = ()
    budgeted: Sequence[Payer] = ()
    candidates: Sequence[Sequence[Payer]] = ()
    limited: bool = False
    models: str = "[]"
    aliases: Mapping[str, str] = {}
    who: tuple[str, str, str] = ("", "", "")
    starts: tuple[int, int, int] = (0, 0, 0)
    team_id: str = ""
    tags: str = "[]"
    others: Sequence[tuple[str, int]] = ()
    terms: Mapping[str, Terms] = {}

    def named(self, account_id: str) -> str:
        """Returns the name of the account's owner: an alias, or its id."""
        if self.key is not None and account_id == key_account(self.key.id):
            return self.key.name
        terms = self.terms.get(account_id)
        return (terms and terms.alias) or kind_of(account_id)[1]

    def whose(self, account_id: str) -> str:
        """Returns how a refusal names the owner of a limit: "of this gateway", "of the key 'bot'". An end user and a
        tag as the client names them, since it may name anyone."""
        if account_id == GLOBAL:
            return "of this gateway"
        kind, id = kind_of(account_id)
        return f"of the {kind} '{id if account_id.startswith(_CLAIMED) else self.named(account_id)}'"


def drawn_on(key: Key | None, caller: Caller) -> list[str]:
    """Returns the ids of the accounts that a request draws on if they exist, in the order of checks."""
    user_id, team_id = _owners(key, caller)
    found = [] if key is None else [key_account(key.id)]
    if user_id:
        found.append(user_account(user_id))
    if team_id:
        found.append(team_account(team_id))
    if caller.end_user:
        found.append(end_user_account(caller.end_user))
    if caller.tags or (key is not None and key.tags != "[]"):
        found += map(tag_account, json.loads(_tags(key, caller)))
    found.append(GLOBAL)
    return found


def principal(
    key: Key | None,
    secret_expires: int | None,
    caller: Caller,
    accounts: Sequence[Payer],
    candidates: Sequence[Sequence[Payer]] = (),
    terms: Mapping[str, Terms] = {},
) -> Principal:
    """`accounts`, `candidates`: already in their current periods."""
    user_id, team_id = _owners(key, caller)
    rated = [one for one in accounts if one[1][-3:] != (None, None, None)]
    budgeted = [one for one in accounts if one[1].max_budget is not None]
    starts = {payer.id: payer.start for payer, _ in accounts}
    first = (starts.pop(GLOBAL), starts.pop(key_account(key.id)) if key else 0, starts.pop(user_account(user_id), 0))
    limited = bool(budgeted)
    models, aliases = _models(key, user_id, team_id, terms)
    for _, limit in rated if not candidates else (*rated, *chain(*candidates)):
        limited = limited or limit.tpm is not None or limit.max_budget is not None
    return Principal(
        key,
        secret_expires,
        _barred(key, user_id, team_id, caller.end_user, terms),
        accounts,
        rated,
        budgeted,
        candidates,
        limited,
        models=models,
        aliases=aliases,
        who=(key.id, key.name, user_id) if key else ("", "", user_id),
        starts=first,
        team_id=team_id,
        tags=_tags(key, caller),
        others=[*starts.items()],
        terms=terms,
    )


def _owners(key: Key | None, caller: Caller) -> tuple[str, str]:
    """Returns the ids of the request's user and team."""
    return (caller.user_id, caller.team_id) if key is None else (key.user_id, key.team_id)


def _tags(key: Key | None, caller: Caller) -> str:
    return claims.together("[]" if key is None else key.tags, caller.tags)


def _barred(
    key: Key | None, user_id: str, team_id: str, end_user: str, terms: Mapping[str, Terms]
) -> decision.Result | None:
    if not terms and not team_id:
        return None
    team = terms.get(team_account(team_id)) if team_id else None
    if team is not None and team.blocked:
        return team_refusal(team_id, blocked=True)
    if team_id and key is None and team is None:  # it comes from a token that somebody else issues
        return team_refusal(team_id, blocked=False)
    for kind, id, account_id in (
        ("end user", end_user, end_user_account(end_user)),
        ("user", user_id, user_account(user_id)),
    ):
        found = terms.get(account_id) if id else None
        if found is not None and found.blocked:
            return decision.refuse(403, "permission_error", f"The {kind} '{id}' is blocked.", code="blocked")
    return None


def team_refusal(team_id: str, *, blocked: bool) -> decision.Result:
    """In LiteLLM's words."""
    if blocked:
        return decision.unauthenticated(f"Team={team_id} is blocked. Update via `/team/unblock` if you're an admin.")
    return decision.unauthenticated(f"Team={team_id} doesn't exist. Create it via `/team/new`.")


def _models(key: Key | None, user_id: str, team_id: str, terms: Mapping[str, Terms]) -> tuple[str, Mapping[str, str]]:
    """Returns the models that the key and its team allow; without a team, the key and its user, as in LiteLLM. And the
    team's aliases."""
    own = key.models if key else "[]"
    if not terms and not team_id:
        return own, _NO_ALIASES
    owner = terms.get(team_account(team_id) if team_id else user_account(user_id))
    if owner is None:
        return own, _NO_ALIASES
    if team_id and f'"{keys.TEAM_MODELS}"' in own:
        own = "[]"
    models = keys.both_allow(own, owner.models)
    if not team_id or owner.aliases is None:
        return models, _NO_ALIASES
    return keys.with_aliases(models, owner.aliases), keys.aliases(owner.aliases)


def authenticate(secret_hash: str | None, now: int, user_id: str = "", team_id: str = "") -> Decision:
    """Checks a caller without admitting a request: {"ok": True, "key_id", "key_alias", "user_id", "team_id", "models"}
    or a refusal. If its team has aliases, the result has "aliases": the models they stand for.

    `secret_hash`: of a key, or None for a caller without one, who is this user or of this team. An empty list of models
    means all models.
    """
    return Decision(_authenticate(secret_hash, now, user_id, team_id))


def _authenticate(secret_hash: str | None, now: int, user_id: str, team_id: str) -> Steps:
    key = None
    if secret_hash is not None:
        rows = yield _BY_SECRET, (secret_hash,)
        if not rows:
            return decision.unauthenticated(_NOT_VALID)
        expires, key = rows[0][0], keys.key(rows[0][1:])
        refused = _key_refusal(key, expires, now)
        if refused:
            return refused
        user_id, team_id = key.user_id, key.team_id
    terms: dict[str, Terms] = {}
    if user_id or team_id:
        for account_id, alias, blocked, models, aliases in (
            yield (
                _OWNERS,
                (user_account(user_id), team_account(team_id)),
            )
        ):
            terms[account_id] = Terms(alias, blocked, models, aliases, NO_LIMITS)
    refused = _barred(key, user_id, team_id, "", terms)
    if refused:
        return refused
    models, aliases = _models(key, user_id, team_id, terms)
    return {
        "ok": True,
        "key_id": key.id if key else "",
        "key_alias": key.name if key else "",
        "user_id": user_id,
        "team_id": team_id,
        "models": json.loads(models),
        **({"aliases": aliases} if aliases else {}),
    }


def _key_refusal(key: Key, secret_expires: int | None, now: int) -> decision.Result | None:
    expired = key.expires is not None and key.expires <= now
    replaced = secret_expires is not None and secret_expires <= now
    return decision.unauthenticated(_NOT_VALID) if key.blocked or expired or replaced else None


def _of_another_model(named: str, model: str) -> decision.Result:
    """The request has been quoted for another model than the one that its name stands for now: quote it for "aliased",
    and try again. Whoever does not know this sends it to the client, as a refusal."""
    return {
        **decision.refuse(
            503, "service_unavailable", f"What the model '{named}' stands for has just changed. Try again.",
            code=ALIAS_CHANGED, param="model", retry_after=1,
        ),
        "aliased": model,
    }  # fmt: skip


def _calls_no_model(key: Key) -> decision.Result:
    return decision.refuse(
        403, "permission_error", f"This key cannot call models: its key_type is '{key.key_type}'.", param="key_type"
    )


def lowered(principal: Principal, request: AdmissionRequest, now: int) -> tuple[AdmissionRequest, int | None]:
    """Lowers the output limit to what fits the budgets and the tokens of a minute. Returns the request as it is to be
    checked, and the lower limit, None if it was not lowered.

    If nothing fits, the request is checked with its lowest limit: the refusal then says what is missing for that.
    """
    key, steps = principal.key, request.steps
    if len(steps) < 2 or not principal.limited or (key is not None and key.keep_output_limit):
        return request, None
    money = money_left(principal.budgeted)
    tokens = tokens_for(principal.rated, steps, now, without_limit=request.without_limit)
    if (money is None or request.amount is None or request.amount <= money) and (
        tokens is None or request.tokens <= tokens
    ):
        return request, None
    found = fitting_step(steps, money, tokens)
    step = found or steps[0]
    return request._replace(amount=step[1], tokens=step[2], steps=(step,)), step[0] if found else None


def refusal_of(
    principal: Principal, request: AdmissionRequest, now: int
) -> tuple[decision.Result | None, Payer | None]:
    """Returns the refusal (None if admitted) and the account whose budget is exhausted, for an alert. Does not look at
    candidates."""
    if not principal.accounts:
        return decision.unauthenticated(_NOT_VALID), None
    if principal.key is not None:
        refused = _key_refusal(principal.key, principal.secret_expires, now)
        if refused:
            return refused, None
        if principal.key.key_type in keys.CALLS_NO_MODEL:
            return _calls_no_model(principal.key), None
    if principal.barred:
        return {**principal.barred}, None
    wanted = request.model
    if principal.aliases or request.named:
        wanted = request.named or wanted
        target = principal.aliases.get(wanted, wanted)
        if target != request.model:
            return _of_another_model(wanted, target), None
    if not keys.allows(principal.models, wanted):
        return decision.model_refused(wanted), None
    if not request.sized and principal.limited:
        return UNSIZED, None
    if request.amount is None and (principal.budgeted or any(_has_budget(some) for some in principal.candidates)):
        return decision.invalid(request.unpriced, "model", "price_unknown"), None
    amount = request.amount or 0
    for payer, limit in principal.rated:
        refused = rate_refusal(payer, limit, request.tokens, now, principal.whose)
        if refused:
            return _with_limits(refused, principal, request, now), None
    if amount > MOST_AT_ONCE:
        return _with_limits(too_expensive(amount), principal, request, now), None
    lowest = request.steps[0][0] if len(request.steps) == 1 else None
    for payer, limit in principal.budgeted:
        refused = budget_refusal(payer, limit, amount, now, principal.whose, lowest=lowest)
        if refused:
            exhausted = (payer, limit) if _is_used_up(refused, limit, amount) else None
            return _with_limits(refused, principal, request, now), exhausted
    return None, None


class Choice(NamedTuple):
    """Which deployments may answer a request. `drawn`: the accounts of those that are left. `exhausted`: the ids of the
    accounts that are used up or held by running requests. `used_up`: those that are used up, for alerts. `refused`: the
    refusal if no deployment is left."""

    drawn: Sequence[Payer]
    exhausted: Sequence[str]
    used_up: Sequence[Payer]
    refused: decision.Result | None


def choice_of(principal: Principal, request: AdmissionRequest, now: int) -> Choice:
    amount = request.amount or 0
    refusals: dict[str, decision.Result] = {}
    used_up: list[Payer] = []
    for payer, limit in {payer.id: (payer, limit) for some in principal.candidates for payer, limit in some}.values():
        refused = rate_refusal(payer, limit, request.tokens, now, principal.whose)
        if refused is None:
            refused = budget_refusal(payer, limit, amount, now, principal.whose)
            if refused and _is_used_up(refused, limit, amount):
                used_up.append((payer, limit))
        if refused:
            refusals[payer.id] = refused
    left = [some for some in principal.candidates if not any(payer.id in refusals for payer, _ in some)]
    drawn = {payer.id: (payer, limit) for some in left for payer, limit in some}
    refused = None
    if not left:
        # Of each deployment, what keeps it out the longest; of all deployments, the one that is free first.
        longest = [
            max((refusals[payer.id] for payer, _ in some if payer.id in refusals), key=_until)
            for some in principal.candidates
        ]
        refused = _with_limits(min(longest, key=_until), principal, request, now)
    return Choice([*drawn.values()], [*refusals], used_up, refused)


def _until(refused: decision.Result) -> tuple[bool, float]:
    after = refused["retry_after"]
    return "soon" not in refused, inf if after is None else after


def _has_budget(payers: Iterable[Payer]) -> bool:
    return any(limit.max_budget is not None for _, limit in payers)


def _is_used_up(refused: decision.Result, limit: Limits, amount: int) -> bool:
    return "soon" not in refused and fits_an_empty_budget(limit, amount)


def _with_limits(
    refused: decision.Result, principal: Principal, request: AdmissionRequest, now: int
) -> decision.Result:
    refused["headers"] = [*_headers(principal, request, now, admitted=False), *refused["headers"]]
    return refused


ROW = (
    "id instance key_id key_alias user_id model endpoint amount tokens minute global_start key_start user_start "
    "created expires request_id tags team_id end_user others"
).split()
# The other columns of a new request, with the same values for every request.
NEW: dict[str, int | str] = {
    "state": 0,
    "charged": 0,
    "answered_by": "",
    "deployment": "",
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "cached_tokens": 0,
    "reasoning_tokens": 0,
    "estimated": 0,
}


def row_of(
    principal: Principal, request: AdmissionRequest, minute: int, now: int, drawn: Sequence[Payer] = ()
) -> tuple[Any, ...]:
    """Returns the new request's values for the columns in ROW. `drawn`: the candidates' accounts that it draws on."""
    id, _, model, endpoint, amount, tokens, instance, lease, _, _, request_id, *_ = request
    return (
        id,
        instance,
        *principal.who,
        model,
        endpoint,
        amount or 0,
        tokens,
        minute,
        *principal.starts,
        now,
        now + lease,
        request_id,
        principal.tags,
        principal.team_id,
        request.end_user,
        others_of([*principal.others, *((payer.id, payer.start) for payer, _ in drawn)]),
    )


def others_of(accounts: Iterable[tuple[str, int]]) -> str:
    """Returns the column `others`. `accounts`: their ids and periods."""
    some = sorted(accounts)
    return json.dumps(some, separators=(",", ":")) if some else "[]"


def _headers(principal: Principal, request: AdmissionRequest, now: int, *, admitted: bool) -> list[list[str]]:
    """Returns headers with the key's limits and what remains of them. An admitted request counts as used."""
    own, limit = principal.accounts[0]
    if principal.key is None or (limit.rpm is None and limit.tpm is None):
        return []
    return limit_headers(own, limit, 1 if admitted else 0, request.tokens if admitted else 0, now)


def admitted(
    principal: Principal,
    request: AdmissionRequest,
    now: int,
    output_limit: int | None = None,
    exhausted: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns the result for an admitted request; see `batch.batch`. The accounts do not count it yet.

    `output_limit`: from `lowered`. `exhausted`: from `choice_of`.
    """
    key_id, key_alias, user_id = principal.who
    result = {
        "ok": True,
        "reservation": request.id,
        "key_id": key_id,
        "key_alias": key_alias,
        "user_id": user_id,
        "models": principal.models,
        "expires": now + request.lease,
        "limited": principal.limited,
        "headers": _headers(principal, request, now, admitted=True),
    }
    if output_limit is not None:
        result["output_limit"], result["amount"] = output_limit, request.amount
        result["headers"] = [*result["headers"], [OUTPUT_LIMIT_HEADER, str(output_limit)]]
    if exhausted:
        result["exhausted"] = [*exhausted]
    if principal.aliases:
        result["aliases"] = principal.aliases
    return result
