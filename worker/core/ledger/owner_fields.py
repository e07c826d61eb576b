"""The fields of those who own accounts besides keys, and of budgets that several owners share.

An owner is a team, a user, an end user or a tag. It spends on its account, `<kind>:<id>` in ledger_accounts. A budget
is a set of limits with a name: an owner or a key with its `budget_id` takes from it each limit that it does not have
itself, and still spends on its own account.
"""

from typing import Annotated, NamedTuple

from ..values import field_kinds as kinds
from .accounts import Limits
from .field_table import Field, FieldTable

TEAM, USER, END_USER, TAG = KINDS = ("team", "user", "end_user", "tag")
_SINCE = 7


# fmt: off
class Budget(NamedTuple):
    """A row of ledger_budgets. Money is in nano-dollars."""

    id: Annotated[str, Field(kinds.ID, shown="budget_id", since=_SINCE)]
    max_budget: Annotated[int | None, Field(
        kinds.USD, "max_budget", "US dollars that may be spent in a period", since=_SINCE)]
    soft_budget: Annotated[int | None, Field(
        kinds.USD, "soft_budget", "US dollars that may be spent in a period before somebody is told", since=_SINCE)]
    budget_duration: Annotated[str | None, Field(
        kinds.PERIOD, "budget_duration", "the period, such as 1h, 1d, 7d or 30d", since=_SINCE)]
    rpm_limit: Annotated[int | None, Field(kinds.COUNT, "rpm_limit", "requests a minute", since=_SINCE)]
    tpm_limit: Annotated[int | None, Field(kinds.COUNT, "tpm_limit", "tokens a minute", since=_SINCE)]
    max_parallel_requests: Annotated[int | None, Field(
        kinds.COUNT, "max_parallel_requests", "requests at the same time", since=_SINCE)]
    created: Annotated[int, Field(kinds.MOMENT, shown="created_at", since=_SINCE)]
    updated: Annotated[int, Field(kinds.MOMENT, shown="updated_at", since=_SINCE)]


class Owner(NamedTuple):
    """A row of ledger_owners. `models`, `model_aliases`, `members` and `metadata` are JSON, money is in nano-dollars.
    `members`: of a team, [{"user_id", "role": "admin" or "user"}]. `role`: of a user, '' for none. `declared`: as in
    `keys`."""

    account: Annotated[str, Field(kinds.ID, since=_SINCE)]
    alias: Annotated[str | None, Field(kinds.TEXT, "alias", "what people call it", since=_SINCE)]
    budget_id: Annotated[str, Field(
        kinds.OWNER, "budget_id", "a budget that supplies the limits that are not set here", since=_SINCE)]
    max_budget: Annotated[int | None, Field(
        kinds.USD, "max_budget", "US dollars it may spend in a period", since=_SINCE)]
    soft_budget: Annotated[int | None, Field(
        kinds.USD, "soft_budget", "US dollars it may spend in a period before somebody is told", since=_SINCE)]
    budget_duration: Annotated[str | None, Field(
        kinds.PERIOD, "budget_duration", "the period, such as 1h, 1d, 7d or 30d", since=_SINCE)]
    rpm_limit: Annotated[int | None, Field(kinds.COUNT, "rpm_limit", "requests a minute", since=_SINCE)]
    tpm_limit: Annotated[int | None, Field(kinds.COUNT, "tpm_limit", "tokens a minute", since=_SINCE)]
    max_parallel_requests: Annotated[int | None, Field(
        kinds.COUNT, "max_parallel_requests", "requests at the same time", since=_SINCE)]
    models: Annotated[str, Field(
        kinds.MODELS, "models", "models it may use, `*` for anything; none means all", since=_SINCE)]
    model_aliases: Annotated[str, Field(
        kinds.METADATA, "model_aliases", "names that its members may use for models", since=_SINCE)]
    members: Annotated[str, Field(kinds.LIST, since=_SINCE)]
    role: Annotated[str, Field(kinds.OWNER, "role", "what a user may do", since=_SINCE)]
    metadata: Annotated[str, Field(kinds.METADATA, "metadata", "anything, as a JSON object", since=_SINCE)]
    blocked: Annotated[int, Field(kinds.FLAG, "blocked", "true refuses its requests", since=_SINCE)]
    created: Annotated[int, Field(kinds.MOMENT, shown="created_at", since=_SINCE)]
    updated: Annotated[int, Field(kinds.MOMENT, shown="updated_at", since=_SINCE)]
    declared: Annotated[int, Field(kinds.DECLARED, shown="declared", since=_SINCE)]

    @property
    def limits(self) -> Limits:
        """Without those of its `budget_id`."""
        return Limits(
            self.max_budget, self.soft_budget, self.budget_duration,
            self.rpm_limit, self.tpm_limit, self.max_parallel_requests,
        )
# fmt: on


BUDGETS, OWNERS = FieldTable(Budget), FieldTable(Owner)
