"""Sign-in to the dashboard by OpenID Connect: the authorization code flow with PKCE, and its endpoints, the same at
both doors.

https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth, https://www.rfc-editor.org/rfc/rfc9700

The browser keeps the state of a sign-in in a cookie that only this gateway can make. The values that tie the provider's
answers to it (`state`, `nonce`, PKCE's verifier) are derived from the cookie with a secret, so nothing is stored before
somebody has signed in. The doors bring `Provider` and run the ledger's decisions.

The endpoints are `GET /dashboard/session`, `GET /dashboard/sign-in`, `GET /dashboard/sign-in/callback` and `POST
/dashboard/sign-out`. Nothing but the callback, which needs the cookie of a sign-in, changes anything by a GET.
"""

import base64
import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qs, parse_qsl, quote, urlencode

from ..api import auth
from ..api.auth import SESSION, SIGN_IN, FailedAuthLimiter, Header, same_secret
from ..api.errors import ApiError
from ..identity.jwt import CannotFetch, Door, InvalidToken, KeysUnavailable, Trust, Verifier, fetch, parsed_json
from ..values.claims import HALF
from .settings import SignInSettings, claim

DASHBOARD, START, CALLBACK = "/dashboard", "/dashboard/sign-in", "/dashboard/sign-in/callback"
# Seconds that somebody may take at the provider.
PATIENCE = 600
_KEEP_DISCOVERY = 600.0
# Seconds before a provider that did not answer is asked again, as anybody can begin a sign-in.
_PAUSE = 5.0
_MOST_BYTES = 512 * 1024
# Nothing but the dashboard's page, with a query or a fragment. Neither another host nor a file.
_RETURN = re.compile(r"/dashboard(?:[?#][A-Za-z0-9_.~!$&'()*+,;=:@%/?#-]{0,512})?")
_USER_ID = re.compile(r"[^\x00-\x20\x7f-\xa0](?:[^\x00-\x1f\x7f-\x9f]{0,253}[^\x00-\x20\x7f-\xa0])?")

# What the dashboard says, by the code in its address.
PROBLEMS: Mapping[str, str] = {
    "expired": "The sign-in took too long, or it was begun in another browser. Try again.",
    "state": "The answer does not belong to a sign-in that was begun here. Try again.",
    "issuer": "The answer comes from another provider than the one that was asked.",
    "denied": "The identity provider did not let you in.",
    "provider": "The identity provider reported an error. An operator finds it in the gateway's log.",
    "unavailable": "The identity provider cannot be reached now. Try again in a moment.",
    "code": "The identity provider did not accept this sign-in any more. Try again.",
    "token": "The identity provider's token is not valid. An operator finds the reason in the gateway's log.",
    "claims": "The identity provider does not say who you are. An operator finds the reason in the gateway's log.",
    "blocked": "This user is blocked.",
    "often": "Too many sign-ins from this address have failed. Try again in a minute.",
    "used": "This sign-in has been used already. Try again.",
    "ledger": "The ledger cannot be used now. Try again in a moment.",
}
# https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1, https://openid.net/specs/openid-connect-core-1_0.html#AuthError
_ERRORS = frozenset(
    (
        "invalid_request", "unauthorized_client", "access_denied", "unsupported_response_type", "invalid_scope",
        "server_error", "temporarily_unavailable", "interaction_required", "login_required", "consent_required",
        "account_selection_required", "invalid_grant", "invalid_client", "unsupported_grant_type",
    )
)  # fmt: skip
_DENIED = ("access_denied", "interaction_required", "login_required", "consent_required", "account_selection_required")


class Problem(Exception):
    """A sign-in that failed. `code`: in PROBLEMS. `reason`: for the log, without secrets; None if there is no more to
    say."""

    def __init__(self, code: str, reason: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


class Person(NamedTuple):
    """Who has signed in. `role`: LiteLLM's, '' if the provider says nothing. `login`: identifies the sign-in."""

    user_id: str
    name: str
    email: str
    role: str
    teams: tuple[str, ...]
    admin_of: tuple[str, ...]
    login: str
    back: str


class _Discovery(NamedTuple):
    authorization: str
    token: str
    userinfo: str | None
    keys: str
    end_session: str | None
    names_itself: bool
    posts_secret: bool


class _Begun(NamedTuple):
    """A sign-in: what its cookie says."""

    text: str
    back: str
    at: int


class SignIn:
    """One for each process or isolate: it keeps the provider's discovery document and its keys."""

    def __init__(self, settings: SignInSettings, secret: bytes, door: Door, most_failures: int) -> None:
        """`secret`: the gateway's own; what it protects is derived from it. `most_failures`: codes of one
        address that the provider may refuse in a minute. They are counted apart from wrong keys, so that a program with
        a wrong key does not keep the people beside it out."""
        self.settings = settings
        self._secret = secret
        self._door = door
        self._verifier = Verifier(door, leeway=settings.leeway)
        self._found: tuple[float, _Discovery] | None = None
        self._failed: tuple[float, Problem] | None = None
        self._failures = FailedAuthLimiter(most_failures)

    @property
    def redirect_uri(self) -> str:
        return self.settings.base_url + CALLBACK

    async def start(self, query: str, now: float) -> tuple[str, tuple[str, str]]:
        """Returns the provider's address and the cookie of the sign-in. Raises Problem. `query`: of our own address,
        where `return` is a path of the dashboard. `now`: seconds since 1970."""
        found = await self._discovery(now)
        back = next((value for name, value in parse_qsl(query) if name == "return"), DASHBOARD)
        back = back if _RETURN.fullmatch(back) else DASHBOARD
        text = f"{int(now)}.{random_text()}.{_base64(back.encode())}"
        begun = _Begun(text, back, int(now))
        challenge = _base64(hashlib.sha256(self._derived("verifier", begun).encode()).digest())
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": self.settings.scope,
            "state": self._derived("state", begun),
            "nonce": self._derived("nonce", begun),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        value = f"{text}.{self._derived('cookie', begun)}"
        cookie = auth.set_cookie(SIGN_IN, value, self.settings.base_url, seconds=PATIENCE, strict=False)
        return _with_query(found.authorization, asked), cookie

    async def leave(self, now: float) -> str | None:
        """Returns the address at which the provider lets somebody end the session there, too, and from which it comes
        back to the dashboard. None if the provider has none, or cannot be asked now.

        https://openid.net/specs/openid-connect-rpinitiated-1_0.html. There is no `id_token_hint`, because ID tokens are
        not kept: so the provider may ask the person.
        """
        try:
            found = await self._discovery(now)
        except Problem:
            return None
        if found.end_session is None:
            return None
        back = self.settings.base_url + DASHBOARD
        return _with_query(found.end_session, {"client_id": self.settings.client_id, "post_logout_redirect_uri": back})

    def clear(self) -> tuple[str, str]:
        """Returns the header that deletes the cookie of a sign-in."""
        return auth.set_cookie(SIGN_IN, "", self.settings.base_url, seconds=0, strict=False)

    async def finish(self, query: str, header: Header, address: str, now: float) -> Person:
        """Checks the provider's answer, exchanges the code, and returns who has signed in. Raises Problem. `address`:
        the client's."""
        answer = _single(query)
        begun = self._begun(auth.cookie(header, auth.cookie_name(SIGN_IN, self.settings.base_url)), now)
        if not same_secret(answer.get("state", ""), self._derived("state", begun)):
            raise Problem("state")
        found = await self._discovery(now)
        # https://www.rfc-editor.org/rfc/rfc9207: against a mix-up of providers
        if answer.get("iss", None if found.names_itself else self.settings.issuer) != self.settings.issuer:
            raise Problem("issuer")
        if "error" in answer:
            said = answer["error"] if answer["error"] in _ERRORS else "an unknown error"
            raise Problem("denied" if said in _DENIED else "provider", f"the provider answered {said}")
        code = answer.get("code", "")
        if not code or not code.isascii():
            raise Problem("state", "the provider sent no code")
        if self._failures.is_over(address, now):
            raise Problem("often")
        try:
            tokens = await self._exchanged(found, code, self._derived("verifier", begun))
        except Problem as problem:
            if problem.code != "unavailable":  # the provider has answered
                self._failures.failed(address, now)
            raise
        claims = await self._checked(found, tokens.get("id_token"), self._derived("nonce", begun), now)
        claims = await self._completed(found, claims, tokens.get("access_token"))
        return self._person(claims, begun)

    # The cookie of a sign-in.

    def _derived(self, purpose: str, begun: _Begun) -> str:
        message = f"sign-in {purpose} {self.settings.client_id} {begun.text}".encode()
        return _base64(hmac.digest(self._secret, message, hashlib.sha256))

    def _begun(self, cookie: str | None, now: float) -> _Begun:
        """Raises Problem unless the cookie is ours and not too old."""
        text, _, mark = (cookie or "").rpartition(".")
        begun = _Begun(text, "", 0)
        if not (text and text.isascii()) or not same_secret(mark, self._derived("cookie", begun)):
            raise Problem("expired")
        at, _, back = text.split(".")
        if not 0 <= now - int(at) <= PATIENCE:
            raise Problem("expired")
        return _Begun(text, base64.urlsafe_b64decode(back + "=" * (-len(back) % 4)).decode(), int(at))

    # The provider.

    async def _discovery(self, now: float) -> _Discovery:
        """Returns the provider's addresses, kept for a while, and longer while it does not answer. Raises Problem."""
        if self._found is not None and 0 <= now - self._found[0] < _KEEP_DISCOVERY:
            return self._found[1]
        if self._failed is not None and 0 <= now - self._failed[0] < _PAUSE:
            return self._known(self._failed[1])
        url = self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            read = self._read(parsed_json(await fetch(self._door, url)))
        except (CannotFetch, ValueError) as error:
            self._failed = now, Problem("unavailable", f"{url}: {error}")
            return self._known(self._failed[1])
        self._found, self._failed = (now, read), None
        return read

    def _known(self, failed: Problem) -> _Discovery:
        """Returns what was last discovered. Raises Problem."""
        if self._found is not None:
            return self._found[1]
        raise Problem(failed.code, failed.reason)

    def _read(self, document: Any) -> _Discovery:
        """Raises ValueError."""
        if not isinstance(document, dict) or document.get("issuer") != self.settings.issuer:
            raise ValueError("its issuer is not OIDC_ISSUER")
        settings = self.settings
        keys = self._address(document, "jwks_uri", None)
        authorization = self._address(document, "authorization_endpoint", settings.authorization_endpoint)
        token = self._address(document, "token_endpoint", settings.token_endpoint)
        if not (keys and authorization and token):
            raise ValueError("it has no jwks_uri, authorization_endpoint or token_endpoint")
        methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        try:
            end_session = self._address(document, "end_session_endpoint", None)
        except ValueError:  # people can sign in without it
            end_session = None
        return _Discovery(
            authorization,
            token,
            self._address(document, "userinfo_endpoint", settings.userinfo_endpoint),
            keys,
            end_session,
            document.get("authorization_response_iss_parameter_supported") is True,
            isinstance(methods, list) and "client_secret_basic" not in methods,
        )

    def _address(self, document: Mapping[str, Any], name: str, configured: str | None) -> str | None:
        """Raises ValueError for an address that is less safe than the issuer's own."""
        found = configured or document.get(name)
        if found is None:
            return None
        own = self.settings.issuer.partition("//")[0] + "//"
        if not isinstance(found, str) or not found.startswith(("https://", own)):
            raise ValueError(f"its {name} is not an https address")
        return found

    async def _exchanged(self, found: _Discovery, code: str, proof: str) -> Mapping[str, Any]:
        """Returns the tokens. Raises Problem."""
        settings = self.settings
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": proof,
        }
        headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
        if settings.client_secret and not found.posts_secret:
            # https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1
            pair = ":".join(quote(part, safe="") for part in (settings.client_id, settings.client_secret))
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            fields["client_id"] = settings.client_id
            if settings.client_secret:
                fields["client_secret"] = settings.client_secret
        status, content = await self._asked(found.token, headers, urlencode(fields).encode())
        try:
            tokens = parsed_json(content)
        except ValueError:
            tokens = None
        if status == 200 and isinstance(tokens, dict):
            return tokens
        said = tokens.get("error") if isinstance(tokens, dict) else None
        said = said if said in _ERRORS else "no known error"
        reason = f"the token endpoint answered {status}: {said}"
        raise Problem("code" if said == "invalid_grant" else "unavailable" if status >= 500 else "provider", reason)

    async def _asked(self, url: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, bytes]:
        try:
            return await self._door.exchange(url, headers, body)
        except CannotFetch as error:
            raise Problem("unavailable", f"{url}: {error}") from None

    async def _checked(self, found: _Discovery, token: Any, nonce: str, now: float) -> Mapping[str, Any]:
        """Returns the claims of a valid ID token. Raises Problem.

        https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
        """
        settings = self.settings
        if not isinstance(token, str):
            raise Problem("token", "the token endpoint sent no id_token")
        try:
            trust = Trust(settings.issuer, (settings.client_id,), (found.keys,))
            claims = await self._verifier.verify(token, [trust], now)
        except InvalidToken as error:
            raise Problem("token", f"the ID token is not valid: {error}") from None
        except KeysUnavailable as error:
            raise Problem("unavailable", f"{found.keys}: {error}") from None
        audience, party = claims.get("aud"), claims.get("azp")
        several = isinstance(audience, list) and len(audience) > 1
        if (party is not None or several) and party != settings.client_id:
            raise Problem("token", "the ID token is for another client (azp)")
        told = claims.get("nonce")
        if not isinstance(told, str) or not same_secret(told, nonce):
            raise Problem("token", "the ID token belongs to another sign-in (nonce)")
        return claims

    async def _completed(self, found: _Discovery, claims: Mapping[str, Any], access: Any) -> Mapping[str, Any]:
        """Adds the claims that only the userinfo endpoint has. Raises Problem."""
        wanted = [name for name in self.settings.claims if claim(claims, name) is None]
        if not wanted or found.userinfo is None or not isinstance(access, str):
            return claims
        headers = {"accept": "application/json", "authorization": f"Bearer {access}"}
        if not access.isascii() or not access.isprintable():
            raise Problem("provider", "the access token cannot be sent")
        status, content = await self._asked(found.userinfo, headers, None)
        try:
            more = parsed_json(content) if status == 200 else None
        except ValueError:
            more = None
        if not isinstance(more, dict):
            raise Problem("provider", f"the userinfo endpoint answered {status}")
        if not isinstance(more.get("sub"), str) or more["sub"] != claims.get("sub"):
            raise Problem("token", "the userinfo endpoint spoke of somebody else (sub)")
        return {**more, **claims}

    def _person(self, claims: Mapping[str, Any], begun: _Begun) -> Person:
        """Raises Problem."""
        settings = self.settings
        user_id = claim(claims, settings.user_id_claim)
        if not isinstance(user_id, str) or not _USER_ID.fullmatch(user_id) or HALF.search(user_id):
            raise Problem("claims", f"the claim '{settings.user_id_claim}' is missing or no short text")
        if settings.user_id_claim == "email" and claims.get("email_verified") is not True:
            raise Problem("claims", "the email address is not verified (email_verified)")
        # Users are found by their address, so one that may be another person's is nobody's. Some write it as text.
        unverified = claims.get("email_verified") in (False, "false")
        return Person(
            user_id,
            _text(claim(claims, settings.name_claim)),
            "" if unverified else _text(claim(claims, settings.email_claim)),
            settings.role_of(claims),
            _names(claim(claims, settings.teams_claim)),
            _names(claim(claims, settings.team_admin_claim)),
            hashlib.sha256(begun.text.encode()).hexdigest(),
            begun.back,
        )


def random_text() -> str:
    """Returns 256 random bits as text."""
    return _base64(os.urandom(32))


def failed_at(problem: Problem) -> str:
    """Returns the dashboard's address that says what is wrong."""
    return f"{DASHBOARD}?sign_in_error={problem.code}"


def _with_query(address: str, fields: Mapping[str, str]) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode(fields, quote_via=quote)}"


def _single(query: str) -> dict[str, str]:
    """Raises Problem if a parameter is repeated, or if there are too many."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise Problem("state") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Problem("state")
    return found


def _text(value: Any) -> str:
    """Returns '' for what no database takes, too."""
    return value[:255] if isinstance(value, str) and "\0" not in value and not HALF.search(value) else ""


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, Sequence):
        return ()
    return tuple(dict.fromkeys(one for one in value[:1000] if len(_text(one)) > 0 and len(one) <= 255))


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


_NO_STORE = ("cache-control", "no-store")
_OFF: dict[str, Any] = {"sign_in": None, "error": None, "user": None}


class Response(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""


class Sessions(Protocol):
    """What the ledger does with sessions. Raises ApiError 503 if it is not available."""

    async def start(self, hash: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns a result of `ledger.callers.start_session`. `fields`: of `ledger.callers.Session`, and `login`."""
        ...

    async def end(self, hash: str) -> None: ...

    async def who(self, hash: str) -> Mapping[str, Any]:
        """Returns a result of `ledger.callers.who`."""
        ...


Log = Callable[[str, str], None]


def off(name: str) -> Response | None:
    """Returns the response where sign-in is not configured; None if the path does not exist then."""
    return _json(_OFF) if name == "session" else None


async def answer(
    name: str, query: str, header: Header, address: str, signing_in: SignIn, sessions: Sessions, now: float, log: Log
) -> Response:
    """`name`: one of `api.endpoints.SIGN_IN`. `address`: the client's. `now`: seconds since 1970. `log(code, reason)`:
    notes a failed sign-in.

    Raises ApiError 403 and 503.
    """
    base_url = signing_in.settings.base_url
    match name:
        case "session":
            hash = auth.presented(header, base_url)
            found = await sessions.who(hash) if hash else {"ok": False}
            code = parse_qs(query).get("sign_in_error", [""])[0]
            user = found["user"] if found["ok"] else None
            return _json({"sign_in": START, "error": PROBLEMS.get(code), "user": user})
        case "sign_out":
            auth.require_own_page(header, base_url)
            hash = auth.presented(header, base_url)
            if hash:
                await sessions.end(hash)
            leads_to = await signing_in.leave(now) if hash else None
            return _json(
                {"signed_out": True, "continue_at": leads_to},
                auth.set_cookie(SESSION, "", base_url, seconds=0, strict=True),
            )
    try:
        if name == "sign_in":
            leads_to, cookie = await signing_in.start(query, now)
            return _redirect(leads_to, cookie)
        person = await signing_in.finish(query, header, address, now)
        cookie = await _started(signing_in, person, sessions, now)
    except Problem as problem:
        log(problem.code, problem.reason or PROBLEMS[problem.code])
        # The cookie of a sign-in is used up, whatever has become of it.
        cleared = [signing_in.clear()] if name == "sign_in_callback" else []
        return _redirect(failed_at(problem), *cleared)
    old = auth.presented(header, base_url)
    if old:
        await sessions.end(old)
    return _redirect(person.back, cookie, signing_in.clear())


async def _started(signing_in: SignIn, person: Person, sessions: Sessions, now: float) -> tuple[str, str]:
    """Starts a session and returns its cookie. Its id is new, whatever the browser has sent. Raises Problem."""
    settings = signing_in.settings
    id = random_text()
    fields = {
        "user_id": person.user_id,
        "name": person.name,
        "email": person.email,
        "role": person.role,
        "teams": person.teams,
        "admin_of": person.admin_of,
        "seen": int(now * 1000),
        "idle": int(settings.idle_minutes * 60_000),
        "expires": int((now + settings.hours * 3600) * 1000),
        "login": person.login,
    }
    try:
        result = await sessions.start(auth.hashed(id), fields)
    except ApiError:
        raise Problem("ledger") from None
    if not result["ok"]:
        raise Problem("used" if result["code"] == "sign_in_used" else "blocked")
    seconds = int(settings.hours * 3600)
    return auth.set_cookie(SESSION, id, settings.base_url, seconds=seconds, strict=True)


def _json(body: Mapping[str, Any], *headers: tuple[str, str]) -> Response:
    return Response(200, [("content-type", "application/json"), _NO_STORE, *headers], json.dumps(body).encode())


def _redirect(address: str, *headers: tuple[str, str]) -> Response:
    assert address.startswith((DASHBOARD, "https://", "http://")), "our own page, or the provider"
    return Response(302, [("location", address), _NO_STORE, ("referrer-policy", "no-referrer"), *headers])
