"""The settings of sign-in: how they are read, and roles from claims. The names are LiteLLM's where it has them."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..shared_settings import Setting, number

# From the one that may do most: the first that somebody has applies.
ROLES = ("proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
NEEDS = ("OIDC_ISSUER", "GENERIC_CLIENT_ID", "PROXY_BASE_URL")


class SignInSettings(NamedTuple):
    """`base_url`: this gateway's origin. `*_endpoint`: None for the discovery document's. `*_claim`: names of claims,
    None for those that are not used. `roles`: a role and the groups of `group_claim` that have it. `hours`: a session's
    longest life; `idle_minutes`: how long it may be unused. `leeway`: seconds that clocks may differ."""

    base_url: str
    issuer: str
    client_id: str
    client_secret: str | None = None
    scope: str = "openid email profile"
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    user_id_claim: str = "sub"
    email_claim: str = "email"
    name_claim: str = "name"
    role_claim: str | None = None
    group_claim: str | None = None
    roles: tuple[tuple[str, tuple[str, ...]], ...] = ()
    default_role: str = ""
    teams_claim: str | None = None
    team_admin_claim: str | None = None
    hours: float = 12.0
    idle_minutes: float = 60.0
    leeway: float = 30.0

    @property
    def claims(self) -> list[str]:
        """The claims that are used."""
        named = (
            self.user_id_claim, self.email_claim, self.name_claim, self.role_claim, self.group_claim, self.teams_claim,
            self.team_admin_claim, "email_verified" if self.user_id_claim == "email" else None,
        )  # fmt: skip
        return [name for name in named if name]

    def role_of(self, claims: Mapping[str, Any]) -> str:
        """Returns the role that the claims give, '' for none."""
        told, groups = claim(claims, self.role_claim), claim(claims, self.group_claim)
        names = set(_strings(told)) & set(ROLES)
        member = set(_strings(groups))
        names |= {role for role, wanted in self.roles if member & set(wanted)}
        return next((role for role in ROLES if role in names), self.default_role)


def settings_of(value: Callable[[str], Any]) -> SignInSettings | None:
    """Returns the settings, None if sign-in is not configured. `value`: a variable's parsed value, None if unset.

    Raises ValueError if something is missing.
    """
    if not value("OIDC_ISSUER"):
        if value("GENERIC_CLIENT_ID"):
            raise ValueError("GENERIC_CLIENT_ID also needs OIDC_ISSUER, the provider whose tokens are trusted")
        return None
    missing = [name for name in NEEDS if not value(name)]
    if missing:
        raise ValueError(f"OIDC_ISSUER also needs {' and '.join(missing)}")
    return SignInSettings(
        base_url=value("PROXY_BASE_URL"),
        issuer=value("OIDC_ISSUER"),
        client_id=value("GENERIC_CLIENT_ID"),
        client_secret=value("GENERIC_CLIENT_SECRET"),
        scope=value("GENERIC_SCOPE"),
        authorization_endpoint=value("GENERIC_AUTHORIZATION_ENDPOINT"),
        token_endpoint=value("GENERIC_TOKEN_ENDPOINT"),
        userinfo_endpoint=value("GENERIC_USERINFO_ENDPOINT"),
        user_id_claim=value("GENERIC_USER_ID_ATTRIBUTE"),
        email_claim=value("GENERIC_USER_EMAIL_ATTRIBUTE"),
        name_claim=value("GENERIC_USER_DISPLAY_NAME_ATTRIBUTE"),
        role_claim=value("GENERIC_USER_ROLE_ATTRIBUTE"),
        group_claim=value("GENERIC_ROLE_MAPPINGS_GROUP_CLAIM"),
        roles=value("GENERIC_ROLE_MAPPINGS_ROLES"),
        default_role=value("GENERIC_ROLE_MAPPINGS_DEFAULT_ROLE") or "",
        teams_claim=value("OIDC_TEAMS_CLAIM"),
        team_admin_claim=value("OIDC_TEAM_ADMIN_CLAIM"),
        hours=value("SESSION_HOURS"),
        idle_minutes=value("SESSION_IDLE_MINUTES"),
    )


def claim(claims: Mapping[str, Any], name: str | None) -> Any:
    """Returns a claim by its name, or by its path, such as `realm_access.roles`."""
    if name is None or name in claims:
        return None if name is None else claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def safe_address(text: str) -> str:
    """Validates an https URL, or an http one on loopback. Raises ValueError."""
    what = "write an https address, or http on localhost"
    try:
        parts = urlsplit(text)
        usable = bool(parts.hostname) and parts.port != 0 and not (parts.username or parts.password or parts.fragment)
    except ValueError:
        usable = False
    if not usable or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)):
        raise ValueError(what)
    return text


def origin(text: str) -> str:
    """Validates this gateway's own address, and returns it as a browser's `Origin`. Raises ValueError."""
    parts = urlsplit(safe_address(text))
    if parts.path not in ("", "/") or parts.query:
        raise ValueError("write https://host or https://host:port, without a path")
    usual = {"https": 443, "http": 80}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in (None, usual) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def role(text: str) -> str:
    if text not in ROLES:
        raise ValueError(f"write one of {', '.join(ROLES)}")
    return text


def role_groups(text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Parses `{"proxy_admin": ["group", …], …}`, with either kind of quotes. Raises ValueError."""
    what = 'write JSON such as {"proxy_admin": ["admins"], "internal_user": ["staff"]}'
    for form in (text, text.replace("'", '"')):
        try:
            found = json.loads(form)
        except ValueError:
            continue
        if isinstance(found, dict) and all(
            name in ROLES and isinstance(groups, list) and all(isinstance(group, str) for group in groups)
            for name, groups in found.items()
        ):
            return tuple((name, tuple(groups)) for name, groups in found.items())
    raise ValueError(what)


def _text(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError("write printable ASCII characters")
    return text


# The variables, with what they mean for people.
VARIABLES: dict[str, tuple[Setting, str]] = {
    "PROXY_BASE_URL": (Setting(origin, None), "this gateway's own address, such as https://gateway.example.com"),
    "OIDC_ISSUER": (Setting(safe_address, None), "OpenID provider by which people sign in to the dashboard"),
    "GENERIC_CLIENT_ID": (Setting(_text, None), "this gateway's client id at the OpenID provider"),
    "GENERIC_CLIENT_SECRET": (Setting(_text, None, secret=True), "its client secret; optional, as PKCE is used"),
    "GENERIC_SCOPE": (Setting(_text, "openid email profile"), "scopes to ask for"),
    "GENERIC_AUTHORIZATION_ENDPOINT": (Setting(safe_address, None), "where people sign in, else as discovered"),
    "GENERIC_TOKEN_ENDPOINT": (Setting(safe_address, None), "where codes are exchanged, else as discovered"),
    "GENERIC_USERINFO_ENDPOINT": (Setting(safe_address, None), "where more claims are read, else as discovered"),
    "GENERIC_USER_ID_ATTRIBUTE": (Setting(_text, "sub"), "claim that becomes the `user_id`"),
    "GENERIC_USER_EMAIL_ATTRIBUTE": (Setting(_text, "email"), "claim with the email address"),
    "GENERIC_USER_DISPLAY_NAME_ATTRIBUTE": (Setting(_text, "name"), "claim with the name to show"),
    "GENERIC_USER_ROLE_ATTRIBUTE": (Setting(_text, None), "claim with one of LiteLLM's roles"),
    "GENERIC_ROLE_MAPPINGS_GROUP_CLAIM": (Setting(_text, None), "claim with groups, from which roles follow"),
    "GENERIC_ROLE_MAPPINGS_ROLES": (Setting(role_groups, ()), "the groups of each role, as JSON"),
    "GENERIC_ROLE_MAPPINGS_DEFAULT_ROLE": (Setting(role, None), "role of people in none of these groups"),
    "OIDC_TEAMS_CLAIM": (Setting(_text, None), "claim with the ids of the person's teams"),
    "OIDC_TEAM_ADMIN_CLAIM": (Setting(_text, None), "claim with the ids of the teams that the person administers"),
    "SESSION_HOURS": (Setting(number("hours over 0, at most 720", 0, 720), 12.0), "longest life of a session"),
    "SESSION_IDLE_MINUTES": (
        Setting(number("minutes over 0, at most 43200", 0, 43200), 60.0),
        "minutes that a session may be unused",
    ),
}


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
