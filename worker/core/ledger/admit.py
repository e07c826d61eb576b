"""Decides whether a request is admitted, and which values it writes and returns. `batch` does the reads and writes.

Checks run in this order: the key (401), its models (403), a known price if there is a budget (400), rate limits and
budgets (429). Limits are checked for the key, then its user, then everyone. Only admitted requests are counted.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..values import tags
from ..values.output_steps import OutputSteps, fitting
from . import decision, keys, limits
from .accounts import Account, Limits
from .decision import Decision, Steps
from .key_fields import Key

# Blocked, expired and replaced keys share one message, so that guessing does not reveal which keys exist.
_NOT_VALID = "This API key is not valid here."
_BY_SECRET = f"""SELECT s.expires, {keys.COLUMNS}
FROM ledger_secrets s JOIN ledger_keys k ON k.id = s.key_id WHERE s.hash = ?"""


class AdmissionRequest(NamedTuple):
    """A request to be admitted.

    `id`: new and unique; names the reservation. `secret_hash`: of the presented key, None for the master key.
    `amount`: the most the request can cost, in nano-dollars, None if unknown; `unpriced` then gives the reason and the
    fix. `tokens`: the most it can use, prompt and completion. `instance`: the container that will serve it, '' if not
    yet known. `lease`: milliseconds until the reservation expires unless renewed or settled. `sized`: False until
    `amount` and `tokens` have been computed. `request_id`: the client's own name for the request, '' if it has none;
    need not be unique. `tags`: the request's, as returned by `tags.of_request`. `steps`: what it costs with lower
    output limits, see `values.output_steps`; the last one has `amount` and `tokens`. Empty if its limit cannot be
    lowered. `without_limit`: the client set no output limit. `user_id`, `team_id`: of a caller without a virtual key,
    '' for the master key. `end_user`: as the client names it, '' for none. `providers`: the ids of the accounts of
    models and providers with a budget that the request's route may use.
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
    providers: tuple[str, ...] = ()


# The response header with an output limit that was lowered to fit.
OUTPUT_LIMIT_HEADER = "x-litellm-output-limit"
# A limit applies to the request: compute its amount and tokens, then try again.
UNSIZED = {"ok": False, "unsized": True}


Payer = tuple[Account, Limits]


class Principal(NamedTuple):
    """The key of a request and the accounts that pay for it, in the order of checks: the key's, the user's, everyone's.
    An unknown key has no accounts.

    `rated`, `budgeted`: the accounts with such limits. `limited`: a budget or a token limit applies. `who`, `starts`:
    the columns of the request's row that follow from the key and its accounts.
    """

    key: Key | None = None
    secret_expires: int | None = None
    accounts: Sequence[Payer] = ()
    rated: Sequence[Payer] = ()
    budgeted: Sequence[Payer] = ()
    limited: bool = False
    who: tuple[str, str, str] = ("", "", "")
    starts: tuple[int, int, int] = (0, 0, 0)


def principal(key: Key | None, secret_expires: int | None, accounts: Sequence[Payer]) -> Principal:
    """`accounts` must already be in their current periods."""
    rated = [one for one in accounts if one[1][-3:] != (None, None, None)]
    budgeted = [one for one in accounts if one[1].max_budget is not None]
    everyone = accounts[-1][0].start
    return Principal(
        key,
        secret_expires,
        accounts,
        rated,
        budgeted,
        limited=bool(budgeted) or any(limit.tpm is not None for _, limit in rated),
        who=(key.id, key.name, key.user_id) if key else ("", "", ""),
        starts=(everyone, accounts[0][0].start if key else 0, accounts[1][0].start if key and key.user_id else 0),
    )


def authenticate(secret_hash: str, now: int) -> Decision:
    """Checks a key without admitting a request: {"ok": True, "key_id", "key_alias", "user_id", "models"} or a refusal.

    An empty list of models means all models.
    """
    return Decision(_authenticate(secret_hash, now))


def _authenticate(secret_hash: str, now: int) -> Steps:
    rows = yield _BY_SECRET, (secret_hash,)
    if not rows:
        return decision.unauthenticated(_NOT_VALID)
    expires, key = rows[0][0], keys.key(rows[0][1:])
    refused = _key_refusal(key, expires, now)
    if refused:
        return refused
    models = keys.shown(key, secret_hash, None, now)["models"]
    return {"ok": True, "key_id": key.id, "key_alias": key.name, "user_id": key.user_id, "models": models}


def _key_refusal(key: Key, secret_expires: int | None, now: int) -> decision.Result | None:
    expired = key.expires is not None and key.expires <= now
    replaced = secret_expires is not None and secret_expires <= now
    return decision.unauthenticated(_NOT_VALID) if key.blocked or expired or replaced else None


def lowered(principal: Principal, request: AdmissionRequest, now: int) -> tuple[AdmissionRequest, int | None]:
    """Lowers the output limit to what fits the budgets and the tokens of a minute. Returns the request as it is to be
    checked, and the lower limit, None if it was not lowered.

    If nothing fits, the request is checked with its lowest limit: the refusal then says what is missing for that.
    """
    key, steps = principal.key, request.steps
    if len(steps) < 2 or not principal.limited or (key is not None and key.keep_output_limit):
        return request, None
    money = limits.money_left(principal.budgeted)
    tokens = limits.tokens_for(principal.rated, steps, now, without_limit=request.without_limit)
    if (money is None or request.amount is None or request.amount <= money) and (
        tokens is None or request.tokens <= tokens
    ):
        return request, None
    found = fitting(steps, money, tokens)
    step = found or steps[0]
    return request._replace(amount=step[1], tokens=step[2], steps=(step,)), step[0] if found else None


def refusal_of(
    principal: Principal, request: AdmissionRequest, now: int
) -> tuple[decision.Result | None, tuple[Account, Limits] | None]:
    """Returns the refusal (None if admitted) and the account whose budget is exhausted, for an alert."""
    if not principal.accounts:
        return decision.unauthenticated(_NOT_VALID), None
    key = principal.key
    if key is not None:
        refused = _key_refusal(key, principal.secret_expires, now)
        if refused:
            return refused, None
        if not keys.allows(key.models, request.model):
            return decision.model_refused(request.model), None
    if not request.sized and principal.limited:
        return UNSIZED, None
    if request.amount is None and principal.budgeted:
        return decision.invalid(request.unpriced, "model", "price_unknown"), None
    amount, tokens = request.amount or 0, request.tokens
    lowest = request.steps[0][0] if len(request.steps) == 1 else None
    for payer, limit in principal.rated:
        refused = limits.rate(payer, limit, tokens, now)
        if refused:
            return _with_limits(refused, principal, request, now), None
    if amount > limits.MOST_AT_ONCE:
        return _with_limits(limits.too_expensive(amount), principal, request, now), None
    for payer, limit in principal.budgeted:
        refused = limits.budget(payer, limit, key, amount, now, lowest=lowest)
        if refused:
            used_up = "soon" not in refused and limits.fits_an_empty_budget(limit, amount)
            exhausted = (payer, limit) if used_up else None
            return _with_limits(refused, principal, request, now), exhausted
    return None, None


def _with_limits(
    refused: decision.Result, principal: Principal, request: AdmissionRequest, now: int
) -> decision.Result:
    refused["headers"] = [*_headers(principal, request, now, admitted=False), *refused["headers"]]
    return refused


ROW = (
    "id instance key_id key_alias user_id model endpoint amount tokens minute global_start key_start user_start "
    "created expires request_id tags"
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


def row_of(principal: Principal, request: AdmissionRequest, minute: int, now: int) -> tuple[Any, ...]:
    """Returns the new request's values for the columns in ROW."""
    id, _, model, endpoint, amount, tokens, instance, lease, _, _, request_id, own, *_ = request
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
        tags.together(principal.key.tags if principal.key else "[]", own),
    )


def _headers(principal: Principal, request: AdmissionRequest, now: int, *, admitted: bool) -> list[list[str]]:
    """Returns headers with the key's limits and what remains of them. An admitted request counts as used."""
    own, limit = principal.accounts[0]
    if principal.key is None or (limit.rpm is None and limit.tpm is None):
        return []
    return limits.headers(own, limit, 1 if admitted else 0, request.tokens if admitted else 0, now)


def admitted(
    principal: Principal, request: AdmissionRequest, now: int, output_limit: int | None = None
) -> dict[str, Any]:
    """Returns the result for an admitted request; see `batch.batch`. The accounts do not count it yet.

    `output_limit`: from `lowered`.
    """
    key_id, key_alias, user_id = principal.who
    result = {
        "ok": True,
        "reservation": request.id,
        "key_id": key_id,
        "key_alias": key_alias,
        "user_id": user_id,
        "models": principal.key.models if principal.key else "[]",
        "expires": now + request.lease,
        "limited": principal.limited,
        "headers": _headers(principal, request, now, admitted=True),
    }
    if output_limit is not None:
        result["output_limit"], result["amount"] = output_limit, request.amount
        result["headers"] = [*result["headers"], [OUTPUT_LIMIT_HEADER, str(output_limit)]]
    return result
