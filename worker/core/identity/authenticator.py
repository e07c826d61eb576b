"""Authenticates JWTs at either door: from a token to a `JwtCaller`, or to an ApiError.

`ClaimRules` say what the claims of a verified JWT mean here: LiteLLM's `litellm_jwtauth`, by its names.

https://docs.litellm.ai/docs/proxy/token_auth
"""

import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..api.auth import TEAM_HEADER
from ..api.endpoints import ANTHROPIC, GOOGLE, Endpoint
from ..api.errors import ApiError, forbidden, refused, service_unavailable, unauthenticated
from ..ledger import keys
from ..protocol import owner_of
from ..values.claims import HALF
from ..values.fields import is_printable
from .jwt import DEFAULT_STALE_TTL, DEFAULT_TTL, Door, InvalidToken, KeysUnavailable, Trust, Verifier

# The variables that name the issuer; all but JWT_PUBLIC_KEY are LiteLLM's.
KEY_URL, AUDIENCE, ISSUER, KEY = "JWT_PUBLIC_KEY_URL", "JWT_AUDIENCE", "JWT_ISSUER", "JWT_PUBLIC_KEY"
_LONGEST_ID = 255
_MOST_TEAMS = 100
# LiteLLM's roles of tokens.
ADMIN, TEAM, USER = ROLES = ("proxy_admin", "team", "internal_user")
# A list of models that contains none: an empty list means all.
NO_MODELS = ("no-default-models",)


class IssuerRules(NamedTuple):
    """An entry of `issuers`. Its claims precede the general ones. `audience`: None accepts any."""

    issuer: str
    jwks_url: str | None = None
    audience: tuple[str, ...] | None = None
    user_id_jwt_field: str | None = None
    user_email_jwt_field: str | None = None
    team_id_jwt_field: str | None = None
    team_ids_jwt_field: str | None = None
    end_user_id_jwt_field: str | None = None


class ClaimRules(NamedTuple):
    """`litellm_jwtauth`. A field is the name of a claim; dots go into objects. `scope_mappings`: (scope, its models).
    `role_mappings`: (role, one of ROLES). Routes are names of LiteLLM's groups, or paths that may end in `*`;
    `team_allowed_routes` None: all that call or list models."""

    admin_jwt_scope: str = "litellm_proxy_admin"
    admin_allowed_routes: tuple[str, ...] = (
        "management_routes",
        "spend_tracking_routes",
        "global_spend_tracking_routes",
        "info_routes",
    )
    user_id_jwt_field: str | None = None
    user_email_jwt_field: str | None = None
    user_allowed_email_domain: str | None = None
    user_id_upsert: bool = False
    user_roles_jwt_field: str | None = None
    user_allowed_roles: tuple[str, ...] | None = None
    team_id_jwt_field: str | None = None
    team_ids_jwt_field: str | None = None
    team_alias_jwt_field: str | None = None
    team_id_default: str | None = None
    team_id_upsert: bool = False
    team_allowed_routes: tuple[str, ...] | None = None
    enforce_team_based_model_access: bool = False
    end_user_id_jwt_field: str | None = None
    roles_jwt_field: str | None = None
    role_mappings: tuple[tuple[str, str], ...] = ()
    object_id_jwt_field: str | None = None
    scope_mappings: tuple[tuple[str, tuple[str, ...]], ...] = ()
    enforce_scope_based_access: bool = False
    enforce_rbac: bool = False
    public_key_ttl: float = DEFAULT_TTL
    public_key_stale_ttl: float = DEFAULT_STALE_TTL
    issuers: tuple[IssuerRules, ...] = ()

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> "ClaimRules":
        """Decodes what was encoded as JSON from `_asdict`."""
        issuers = [IssuerRules._make(_tuples(one)) for one in fields.get("issuers", ())]
        values = {name: _tuples(value) for name, value in fields.items() if name in cls._fields}
        return cls(**{**values, "issuers": tuple(issuers)})

    def trusts(self, variable: Callable[[str], str | None]) -> list[Trust]:
        """Returns whose tokens are accepted. As in LiteLLM, tokens of other issuers than `issuers` are checked by the
        variables, if these name any keys."""
        found = [Trust(one.issuer, one.audience, (one.jwks_url,) if one.jwks_url else ()) for one in self.issuers]
        keys = [url.strip() for url in (variable(KEY_URL) or "").split(",") if url.strip()]
        pem = variable(KEY)
        if pem:
            keys.append(pem)
        if keys:
            audience = variable(AUDIENCE)
            found.append(Trust(variable(ISSUER) or None, (audience,) if audience else None, tuple(keys)))
        return found


class Identity(NamedTuple):
    """Who presented a token.

    `teams`: those that it may spend for, the best first. `team_alias`: of its only team, whose id the ledger knows.
    `chosen`: whether its team may depend on the model. `models`: those of its scopes, None for no limit. `admin`: it is
    an operator, within `admin_allowed_routes`.
    """

    user_id: str = ""
    teams: tuple[str, ...] = ()
    end_user: str = ""
    admin: bool = False
    models: tuple[str, ...] | None = None
    chosen: bool = False
    team_alias: str = ""


def identity(rules: ClaimRules, claims: Mapping[str, Any], team_header: str | None = None) -> Identity:
    """Returns who the claims name. `team_header`: the value of TEAM_HEADER.

    Raises ApiError 401 for claims of the wrong type, 403 for somebody who may not use this gateway.
    """
    found = _Claims(rules, claims)
    scopes, email, role = found.scopes(), found.email(), found.role()
    admin = rules.admin_jwt_scope in scopes
    if rules.enforce_rbac and role is None:
        raise forbidden("This JWT belongs to no operator, team or user (enforce_rbac).")
    user_id, end_user, models = found.user_id(email), found.end_user(), found.models(scopes)
    id = found.object_id()
    if role == USER and id:
        user_id = id
    if user_id and user_id in (email, claims.get("email")) and _is_unverified(claims):
        raise forbidden("The email address of this JWT is not verified (email_verified), so it names no user.")
    if admin:
        return Identity(user_id, (), end_user, True, models)
    if rules.user_allowed_email_domain is not None:
        _check_domain(email, rules.user_allowed_email_domain, claims)
    team, several, alias = found.team(), found.several_teams(), found.team_alias()
    if alias and not several and not found.names_a_team():
        team = ""  # the default one is for tokens that name none
    if role == TEAM and id:
        team = id
    if team_header:
        if team_header not in (team, *several):
            raise forbidden(f"The {TEAM_HEADER} header names no team of this JWT.")
        team = team_header
    if team:
        alias = ""
    teams = [team] if team else [] if alias else several
    if not (teams or alias) and rules.enforce_team_based_model_access:
        raise forbidden("This JWT names no team (enforce_team_based_model_access).")
    if not (team or alias) and not (rules.team_id_jwt_field is None and rules.team_alias_jwt_field is None):
        raise forbidden("This JWT names no team (team_id_jwt_field, team_alias_jwt_field).")
    if not (user_id or teams or alias):
        raise forbidden(
            "This JWT names neither a user nor a team. general_settings.litellm_jwtauth says which claims do: "
            "user_id_jwt_field, team_id_jwt_field."
        )
    return Identity(user_id, tuple(dict.fromkeys(teams)), end_user, False, models, not (team or alias), alias)


def _check_domain(email: str, domain: str, claims: Mapping[str, Any]) -> None:
    name, _, own = email.rpartition("@")
    if not name or own.lower() != domain.lower() or _is_unverified(claims):
        raise forbidden("The email address of this JWT is not of a domain that may use this gateway.")


def _is_unverified(claims: Mapping[str, Any]) -> bool:
    """Whether the issuer says that the email address may be another person's. Some write it as text."""
    return claims.get("email_verified") in (False, "false")


def check_route(rules: ClaimRules, who: Identity, endpoint: Endpoint, path: str) -> None:
    """Raises ApiError 403 if somebody with this identity may not call the endpoint."""
    if who.admin:
        routes = rules.admin_allowed_routes
    elif (who.teams or who.team_alias) and rules.team_allowed_routes is not None:
        routes = rules.team_allowed_routes
    else:
        return
    groups = groups_of(endpoint)
    if not any(route in groups or _is_at(path, route) for route in routes):
        raise forbidden("litellm_jwtauth does not allow this JWT to call this path (admin_allowed_routes).")


def groups_of(endpoint: Endpoint) -> frozenset[str]:
    """Returns the names of LiteLLM's groups of routes that the endpoint is in."""
    return frozenset(_groups(endpoint))


def _groups(endpoint: Endpoint) -> list[str]:
    name, path = endpoint.name, endpoint.path
    if name in ANTHROPIC:
        return ["anthropic_routes", "llm_api_routes"]
    if name in GOOGLE:
        return ["google_routes", "llm_api_routes"]
    if endpoint.admin:
        if path.startswith("/spend/"):
            return ["spend_tracking_routes", "management_routes"]
        if path.startswith("/global/"):
            return ["global_spend_tracking_routes"]
        if name == "model_info":
            return ["management_routes", "info_routes", "llm_api_routes"]
        return ["management_routes", "info_routes"] if path.endswith(("/info", "/list")) else ["management_routes"]
    if name == "metrics":
        return ["info_routes"]
    return ["openai_routes", "llm_api_routes", *(["info_routes"] if name in ("models", "model") else [])]


def _is_at(path: str, route: str) -> bool:
    if route.endswith("*"):
        return path.startswith(route[:-1])
    return path == route


class _Claims:
    """Reads claims by the rules. Methods raise ApiError 401 for values of the wrong type."""

    def __init__(self, rules: ClaimRules, claims: Mapping[str, Any]) -> None:
        self._rules = rules
        self._claims = claims
        issuer = claims.get("iss")
        self._own = next((one for one in rules.issuers if one.issuer == issuer), None)

    def user_id(self, email: str) -> str:
        given = self._mapped("user_id_jwt_field")
        return email if given in (_MISSING, None) else _id(given, "user_id_jwt_field")

    def email(self) -> str:
        given = self._mapped("user_email_jwt_field")
        return "" if given is _MISSING else _id(given, "user_email_jwt_field")

    def end_user(self) -> str:
        given = self._mapped("end_user_id_jwt_field")
        return "" if given is _MISSING else _id(given, "end_user_id_jwt_field")

    def object_id(self) -> str:
        field = self._rules.object_id_jwt_field
        given = _MISSING if field is None else _value(self._claims, field)
        return "" if given is _MISSING else _id(given, "object_id_jwt_field")

    def team(self) -> str:
        """Returns the one team that the token is for, '' if there is none. As in LiteLLM, null is no default team."""
        given = self._mapped("team_id_jwt_field")
        if given is _MISSING:
            return self._rules.team_id_default or ""
        if isinstance(given, list):
            given = given[0] if given else None
        return _id(given, "team_id_jwt_field")

    def names_a_team(self) -> bool:
        return self._mapped("team_id_jwt_field") not in (_MISSING, None, "", [])

    def team_alias(self) -> str:
        field = self._rules.team_alias_jwt_field
        given = _MISSING if field is None else _value(self._claims, field)
        return "" if given is _MISSING else _id(given, "team_alias_jwt_field")

    def several_teams(self) -> list[str]:
        given = self._mapped("team_ids_jwt_field")
        if given in (_MISSING, None):
            return []
        given = [given] if isinstance(given, str) else given
        if not isinstance(given, list) or len(given) > _MOST_TEAMS:
            raise _wrong("team_ids_jwt_field", f"a list of at most {_MOST_TEAMS} texts")
        return [team for team in (_id(one, "team_ids_jwt_field") for one in given) if team]

    def scopes(self) -> list[str]:
        given = self._claims.get("scope", [])
        return given.split() if isinstance(given, str) else _texts(given, "scope")

    def role(self) -> str | None:
        """Returns LiteLLM's role of the token, one of ROLES."""
        rules = self._rules
        if rules.admin_jwt_scope in self.scopes():
            return ADMIN
        if self.team():
            return TEAM
        if self._mapped("user_id_jwt_field") not in (_MISSING, None):
            return USER
        allowed = rules.user_allowed_roles or ()
        if set(self._listed(rules.user_roles_jwt_field, "user_roles_jwt_field")) & set(allowed):
            return USER
        own = self._listed(rules.roles_jwt_field, "roles_jwt_field")
        return next((role for name, role in rules.role_mappings if name in own), None)

    def models(self, scopes: list[str]) -> tuple[str, ...] | None:
        rules = self._rules
        if not (rules.enforce_scope_based_access and rules.scope_mappings):
            return None
        return (
            tuple(model for scope, models in rules.scope_mappings if scope in scopes for model in models) or NO_MODELS
        )

    def _listed(self, field: str | None, name: str) -> list[str]:
        given = _MISSING if field is None else _value(self._claims, field)
        if given in (_MISSING, None):
            return []
        return [given] if isinstance(given, str) else _texts(given, name)

    def _mapped(self, name: str) -> Any:
        """Returns the claim that the setting `name` names, preferably that of the token's issuer; _MISSING if there is
        none."""
        own = getattr(self._own, name, None) if self._own is not None else None
        if own is not None:
            given = _value(self._claims, own)
            if given not in (_MISSING, None, ""):
                return given
        field = getattr(self._rules, name)
        return _MISSING if field is None else _value(self._claims, field)


_MISSING: Any = object()


def _value(claims: Mapping[str, Any], field: str) -> Any:
    """Returns the claim at a path such as `a.b`, _MISSING if there is none. `\\.` is a dot in a name."""
    field = field.removeprefix("metadata.")  # as in LiteLLM
    found: Any = claims
    for name in field.replace("\\.", "\0").split("."):
        if not isinstance(found, dict):
            return _MISSING
        found = found.get(name.replace("\0", "."), _MISSING)
    return found


def _id(given: Any, name: str) -> str:
    if given is None or given == "":
        return ""
    if not is_printable(given, _LONGEST_ID) or HALF.search(given):
        raise _wrong(name, f"a text of at most {_LONGEST_ID} printable characters")
    return given


def _texts(given: Any, name: str) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise _wrong(name, "a text or a list of texts")
    return given


def _wrong(name: str, what: str) -> ApiError:
    return unauthenticated(f"This JWT is not valid here: its claim for {name} has to be {what}.")


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list | tuple) else value


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


class JwtCaller(NamedTuple):
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
    ) -> JwtCaller:
        """Returns who calls. Raises ApiError 401, 403 or 503. `team`: the value of `auth.TEAM_HEADER`. `now`: seconds
        since 1970. `fresh`: ask the ledger in any case."""
        try:
            found = await self._verifier.verify(token, self._trusts, now)
        except InvalidToken as error:
            raise unauthenticated(f"This JWT is not valid here: {error}.") from None
        except KeysUnavailable:
            raise service_unavailable(
                "The issuer's public keys cannot be fetched now, so no JWT can be checked. Try again shortly.", 5
            ) from None
        who = identity(self._rules, found, team)
        check_route(self._rules, who, endpoint, path)
        if who.admin:
            return JwtCaller(who.user_id, who.end_user, administrator=True, scoped=who.models)
        owners = await self._owners(who, fresh=fresh)
        aliases = owners.get("aliases", {})
        return JwtCaller(
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
