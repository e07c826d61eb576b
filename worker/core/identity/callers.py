"""Authenticates JWTs at either door: from a token to a `Caller`, or to an ApiError."""

import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..api.endpoints import Endpoint
from ..api.errors import refused, service_unavailable, unauthenticated
from ..ledger import keys
from ..protocol import owner_of
from . import claims
from .claims import NO_MODELS, ClaimRules, Identity
from .jwt import InvalidToken
from .verifier import Door, KeysUnavailable, Trust, Verifier

# Seconds that the ledger's word about a user and its teams is kept. Limits and blocks are checked with every admission.
_FRESH_SECONDS = 10.0
_MOST_KNOWN = 10_000

# Runs `ledger.owners.of_token` with these arguments, except `now`. Raises ApiError 503.
FindOwners = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


class Team(NamedTuple):
    """`models`: those that it may use, a JSON list, empty for all. `aliases`: names that it may use, too, and the
    models that they stand for, as JSON."""

    id: str
    models: str
    aliases: str = "{}"

    @property
    def names(self) -> str:
        """The models, and the aliases."""
        return self.models if self.aliases == "{}" else keys.with_aliases(self.models, self.aliases)


class Caller(NamedTuple):
    """Somebody with a valid JWT.

    `administrator`: an operator by its scope. `teams`: those to spend for, the best first, empty for none. `own`: the
    models of the user, which count without a team, as a JSON list, empty for all. `scoped`: those of the token's
    scopes, None for no limit.
    """

    user_id: str = ""
    end_user: str = ""
    administrator: bool = False
    teams: tuple[Team, ...] = ()
    own: str = "[]"
    scoped: tuple[str, ...] | None = None

    @property
    def owner(self) -> str:
        return owner_of(None, self.user_id, self.teams[0].id if self.teams else "")

    @property
    def credential(self) -> dict[str, Any] | None:
        """Who makes a call of the admin API, see `ledger.callers`: a person. None for operators, and for a token
        without a user, which has no rights there. One whose scopes limit its models only reads: a key that it made
        would not have that limit."""
        if self.administrator or not self.user_id:
            return None
        role = "" if self.scoped is None else "internal_user_viewer"
        return {"person": {"user_id": self.user_id, "role": role, "teams": [team.id for team in self.teams]}}

    @property
    def models(self) -> str:
        """The models that it may use, whoever pays, as a JSON list, empty for all."""
        lists = [json.loads(team.names) for team in self.teams] or [json.loads(self.own)]
        return self._scoped(json.dumps([name for one in lists for name in one] if all(lists) else []))

    @property
    def aliases(self) -> dict[str, str]:
        """The models that the aliases of its teams stand for. Of an alias, the team that pays for it decides."""
        found: dict[str, str] = {}
        for before, team in enumerate(self.teams):
            for name, target in keys.aliases(team.aliases).items():
                if not any(keys.allows(other.names, name) for other in self.teams[:before]):
                    found[name] = target
        return found

    def aliases_with(self, model: str) -> Mapping[str, str]:
        """The aliases of the team that pays for this model, as the client names it."""
        return keys.aliases(self._team(model).aliases) if self.teams else {}

    def payer(self, model: str) -> tuple[str, str]:
        """Returns the id of the team that pays for this model, '' for none, and the models that may then be used.
        `model`: as the client names it."""
        if not self.teams:
            return "", self._scoped(self.own)
        team = self._team(model)
        return team.id, self._scoped(team.names)

    def _team(self, model: str) -> Team:
        """Returns the first team that may use the model, or else the first."""
        return next((team for team in self.teams if keys.allows(team.names, model)), self.teams[0])

    def _scoped(self, models: str) -> str:
        if self.scoped is None:
            return models
        return json.dumps([name for name in self.scoped if keys.allows(models, name)] or NO_MODELS)


class TokenAuthenticator:
    """`trusts`: whose tokens are accepted. `find_owners`: see above. `clock`: monotonic, in seconds."""

    def __init__(
        self,
        rules: ClaimRules,
        trusts: Sequence[Trust],
        door: Door,
        find_owners: FindOwners,
        *,
        leeway: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._trusts = trusts
        self._find_owners = find_owners
        self._clock = clock
        self._verifier = Verifier(
            door, ttl=rules.public_key_ttl, stale_ttl=rules.public_key_stale_ttl, leeway=leeway, clock=clock
        )
        self._known: OrderedDict[tuple[str, tuple[str, ...], str, bool], tuple[float, dict[str, Any]]] = OrderedDict()

    def prepare(self) -> None:
        """Fetches the public keys in the background."""
        self._verifier.prepare(self._trusts)

    async def __call__(
        self, token: str, endpoint: Endpoint, path: str, team: str | None, now: float, *, fresh: bool = False
    ) -> Caller:
        """Returns who calls. Raises ApiError 401, 403 or 503. `team`: the value of `claims.TEAM_HEADER`. `now`: seconds
        since 1970. `fresh`: ask the ledger in any case."""
        try:
            found = await self._verifier.verify(token, self._trusts, now)
        except InvalidToken as error:
            raise unauthenticated(f"This JWT is not valid here: {error}.") from None
        except KeysUnavailable:
            raise service_unavailable(
                "The issuer's public keys cannot be fetched now, so no JWT can be checked. Try again shortly.", 5
            ) from None
        who = claims.identity(self._rules, found, team)
        claims.check_route(self._rules, who, endpoint, path)
        if who.admin:
            return Caller(who.user_id, who.end_user, administrator=True, scoped=who.models)
        owners = await self._owners(who, fresh=fresh)
        aliases = owners.get("aliases", {})
        return Caller(
            who.user_id,
            who.end_user,
            teams=tuple(Team(id, models, aliases.get(id, "{}")) for id, models in owners["teams"]),
            own=owners["models"],
            scoped=who.models,
        )

    async def _owners(self, who: Identity, *, fresh: bool) -> dict[str, Any]:
        """Raises ApiError 403 or 503."""
        name, now = (who.user_id, who.teams, who.team_alias, who.chosen), self._clock()
        known = self._known.pop(name, None)
        if known is None or fresh or now - known[0] >= _FRESH_SECONDS:
            rules = self._rules
            asked = {"user_id": who.user_id, "teams": list(who.teams), "chosen": who.chosen}
            if who.team_alias:
                asked["team_alias"] = who.team_alias
            asked |= {"add_user": rules.user_id_upsert, "add_team": rules.team_id_upsert}
            known = now, await self._find_owners(asked)
        if not known[1]["ok"]:
            raise refused(known[1])
        self._known[name] = known
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return known[1]
