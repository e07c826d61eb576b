"""What a provider, or somebody in its place, may say: ID tokens and answers that no honest provider makes."""

import json
import time
from collections.abc import Coroutine, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from container.server.token_door import TokenDoor
from tests.identity.issuer import ISSUER, claims, hmac_token, key_set, pem, private_key, token
from worker.core.identity.jwt import CannotFetch, PublicKey, Token
from worker.core.sign_in.flow import Person, Problem, SignIn
from worker.core.sign_in.settings import SignInSettings, origin, role_groups, safe_address, settings_of

SETTINGS = SignInSettings(
    base_url="https://gateway.example", issuer=ISSUER, client_id="gateway", client_secret="s3cret:+", leeway=0
)
DISCOVERY = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/auth?tenant=1",
    "token_endpoint": f"{ISSUER}/token",
    "userinfo_endpoint": f"{ISSUER}/me",
    "jwks_uri": f"{ISSUER}/jwks",
}
MOST_FAILURES = 3
COMPLETE = {"name": "Ada", "email": "ada@example.com"}


class Provider:
    """Answers as told. `asked`: what came to the token and userinfo endpoints."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {
            f"{ISSUER}/.well-known/openid-configuration": dict(DISCOVERY),
            f"{ISSUER}/jwks": key_set(),
        }
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, Mapping[str, str], bytes | None]] = []
        self._door = TokenDoor(connect_timeout=1)

    async def exchange(self, url: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, bytes]:
        if url in self.documents:
            return 200, json.dumps(self.documents[url]).encode()
        if url not in self.answers:
            raise CannotFetch("no answer")
        self.asked.append((url, headers, body))
        status, content = self.answers[url]
        return status, content if isinstance(content, bytes) else json.dumps(content).encode()

    async def is_signed(self, key: PublicKey, given: Token) -> bool:
        return await self._door.is_signed(key, given)

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        work.close()

    def report(self, event: str, url: str, reason: str) -> None: ...


class Attempt:
    """A sign-in that has begun. `asked`: what the browser took to the provider."""

    def __init__(self, provider: Provider, settings: SignInSettings = SETTINGS) -> None:
        self.provider = provider
        self.sign_in = SignIn(settings, b"secret of the tests", provider, MOST_FAILURES)

    async def begin(self, now: float | None = None) -> "Attempt":
        address, (_, cookie) = await self.sign_in.start("", time.time() if now is None else now)
        self.address = address
        self.asked = {name: value for name, (value,) in parse_qs(urlsplit(address).query).items()}
        self.cookie = cookie.partition(";")[0]
        return self

    async def finish(self, now: float | None = None, address: str = "192.0.2.1", **query: str) -> Person:
        fields = {"code": "c0de", "state": self.asked["state"], **query}
        text = "&".join(f"{name}={value}" for name, value in fields.items())
        headers = {"cookie": self.cookie}
        return await self.sign_in.finish(text, headers.get, address, time.time() if now is None else now)

    async def told(self, id_token: Any = None, **more: Any) -> Person:
        """Finishes with this ID token, or with a valid one with other claims."""
        payload = claims(nonce=self.asked["nonce"], **{**COMPLETE, **more})
        sent = token({k: v for k, v in payload.items() if v is not None}) if id_token is None else id_token
        self.provider.answers[DISCOVERY["token_endpoint"]] = 200, {"id_token": sent, "access_token": "acc3ss"}
        return await self.finish()


@pytest.fixture
async def attempt() -> Attempt:
    return await Attempt(Provider()).begin()


async def code_of(work: Coroutine[Any, Any, Any]) -> str:
    with pytest.raises(Problem) as caught:
        await work
    for secret in ("s3cret", "c0de", "acc3ss", "eyJ"):
        assert secret not in (caught.value.reason or "")
    return caught.value.code


async def test_a_valid_answer_says_who_it_is(attempt: Attempt):
    identity = await attempt.told()
    assert (identity.user_id, identity.name, identity.email, identity.back) == (
        "ada", "Ada", "ada@example.com", "/dashboard",
    )  # fmt: skip
    assert attempt.address.startswith(f"{ISSUER}/auth?tenant=1&response_type=code&")
    [(url, headers, body)] = attempt.provider.asked
    assert url == f"{ISSUER}/token"
    assert headers["authorization"] == "Basic Z2F0ZXdheTpzM2NyZXQlM0ElMkI="
    assert b"s3cret" not in (body or b"")
    assert b"code_verifier=" in (body or b"")


@pytest.mark.parametrize(
    "more",
    [
        {"nonce": None},
        {"nonce": "another"},
        {"nonce": 1},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"aud": []},
        {"aud": ["gateway", "other"]},
        {"aud": ["gateway", "other"], "azp": "other"},
        {"azp": "other"},
        {"exp": 1},
        {"exp": None},
        {"nbf": 9_999_999_999},
        {"iat": 9_999_999_999},
    ],
    ids=str,
)
async def test_an_id_token_that_is_not_for_this_sign_in_is_refused(attempt: Attempt, more: dict[str, Any]):
    payload = {**claims(nonce=attempt.asked["nonce"], **COMPLETE), **more}
    sent = token({name: value for name, value in payload.items() if value is not None})
    assert await code_of(attempt.told(sent)) == "token"


async def test_several_audiences_need_the_authorized_party(attempt: Attempt):
    assert (await attempt.told(aud=["gateway", "other"], azp="gateway")).user_id == "ada"


async def test_forged_id_tokens_are_refused(attempt: Attempt):
    payload = claims(nonce=attempt.asked["nonce"])
    good = token(payload)
    none = token(payload, header={"alg": "none"})
    forged = [
        none,
        none.rpartition(".")[0] + ".",
        hmac_token(pem(private_key("RS256")).encode(), payload),
        hmac_token(b"s3cret:+", payload),
        token(payload, key=private_key("RS256", 1)),
        good[:-4] + "AAAA",
        good.upper(),
        "",
        "a.b.c",
        7,
        ["x"],
    ]
    for one in forged:
        assert await code_of(attempt.told(one)) == "token", one


@pytest.mark.parametrize(
    "subject", [None, "", 7, [], "a" * 256, "line\nbreak", " padded", "nul\0", "a\ud800"], ids=repr
)
async def test_somebody_without_a_usable_name_is_refused(attempt: Attempt, subject: Any):
    attempt.provider.answers[DISCOVERY["userinfo_endpoint"]] = 200, {"sub": subject}
    assert await code_of(attempt.told(sub=subject)) in ("claims", "token")


async def test_userinfo_completes_the_claims_of_the_same_person_only(attempt: Attempt):
    me = DISCOVERY["userinfo_endpoint"]
    attempt.provider.answers[me] = 200, {"sub": "ada", "email": "ada@work.example", "name": "Another"}
    identity = await attempt.told(email=None)
    assert (identity.email, identity.name) == ("ada@work.example", "Ada")
    assert attempt.provider.asked[-1][1]["authorization"] == "Bearer acc3ss"
    attempt.provider.answers[me] = 200, {"sub": "eve", "email": "eve@example.com"}
    assert await code_of(attempt.told(email=None)) == "token"
    for answer in ((500, b""), (200, b"<html>"), (200, [])):
        attempt.provider.answers[me] = answer
        assert await code_of(attempt.told(email=None)) == "provider"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((400, {"error": "invalid_grant", "error_description": "c0de s3cret"}), "code"),
        ((401, {"error": "invalid_client"}), "provider"),
        ((200, {"access_token": "acc3ss"}), "token"),
        ((200, []), "provider"),
        ((200, b"<html>"), "provider"),
        ((302, b""), "provider"),
        ((503, b"s3cret"), "unavailable"),
    ],
)
async def test_what_the_token_endpoint_may_answer(attempt: Attempt, answer: Any, code: str):
    attempt.provider.answers[DISCOVERY["token_endpoint"]] = answer
    assert await code_of(attempt.finish()) == code


async def test_a_sign_in_expires(attempt: Attempt):
    for later in (601, -61):
        assert await code_of(attempt.finish(time.time() + later)) == "expired"


async def test_an_address_that_cannot_be_read_is_refused(attempt: Attempt):
    """Standalone, an address and a header may have any bytes. Those that are no UTF-8 arrive as halves of pairs."""
    state, now = attempt.asked["state"], time.time()
    for query in (
        "&".join(f"p{n}=1" for n in range(60)),
        "state=\udcff&code=c",
        f"state={state}&code=\udcff",
        f"state={state}&code=%C3%A9",
        f"state={state}&code=",
    ):
        assert await code_of(attempt.sign_in.finish(query, {"cookie": attempt.cookie}.get, "", now)) == "state"
    for value in ("\udcff.x", "x.\udcff", "x.é"):
        cookie = {"cookie": f"__Host-litellm-router-sign-in={value}"}
        assert await code_of(attempt.sign_in.finish("state=x", cookie.get, "", now)) == "expired"
    assert not attempt.provider.asked


@pytest.mark.parametrize("more", [{"exp": 10**400}, {"nbf": 10**400}, {"iat": 10**400}, {"nonce": "\ud800"}], ids=str)
async def test_claims_beyond_numbers_and_text_are_refused(attempt: Attempt, more: dict[str, Any]):
    assert await code_of(attempt.told(token({**claims(nonce=attempt.asked["nonce"]), **more}))) == "token"


@pytest.mark.parametrize("verified", [False, "false", True, None])
async def test_an_address_that_may_be_another_persons_is_left_out(attempt: Attempt, verified: Any):
    """A team's admin adds members by their address."""
    identity = await attempt.told(email_verified=verified)
    assert identity.email == ("" if verified in (False, "false") else "ada@example.com")


async def test_what_no_database_takes_is_left_out():
    attempt = await Attempt(Provider(), SETTINGS._replace(teams_claim="teams")).begin()
    teams = ["blue", "\ud800", "\0", "", 1, "t" * 256]
    identity = await attempt.told(name="\udfff", email="\0", teams=teams)
    assert (identity.name, identity.email, identity.teams) == ("", "", ("blue",))


async def test_the_cookie_of_another_gateway_is_refused(attempt: Attempt):
    other = SignIn(SETTINGS, b"another secret", attempt.provider, MOST_FAILURES)
    query, headers = f"code=c&state={attempt.asked['state']}", {"cookie": attempt.cookie}
    assert await code_of(other.finish(query, headers.get, "", time.time())) == "expired"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [({"state": "invented"}, "state"), ({"state": ""}, "state"), ({"code": ""}, "state"), ({"iss": "x"}, "issuer")],
    ids=str,
)
async def test_an_invented_answer_does_not_reach_the_token_endpoint(attempt: Attempt, wrong: dict[str, str], code: str):
    for _ in range(2 * MOST_FAILURES):
        assert await code_of(attempt.finish(**wrong)) == code
    cookie = attempt.cookie
    for attempt.cookie in ("", "litellm-router-sign-in=invented", cookie + "x", cookie[:-1], f"{cookie}; {cookie}"):
        assert await code_of(attempt.finish()) == "expired"
    assert attempt.provider.asked == []
    attempt.cookie = cookie
    assert (await attempt.told()).user_id == "ada"  # none of them counted


async def test_an_address_may_send_few_codes_that_the_provider_refuses(attempt: Attempt):
    answers, now = attempt.provider.answers, time.time() + 100
    url = DISCOVERY["token_endpoint"]
    answers[url] = 503, b""
    for _ in range(2 * MOST_FAILURES):
        assert await code_of(attempt.finish(now)) == "unavailable"  # does not count
    answers[url] = 400, {"error": "invalid_grant"}
    for at in range(MOST_FAILURES):
        assert await code_of(attempt.finish(now + at)) == "code"
    asked = len(attempt.provider.asked)
    assert await code_of(attempt.finish(now + 59)) == "often"
    assert len(attempt.provider.asked) == asked
    assert await code_of(attempt.finish(now + 59, address="192.0.2.2")) == "code"
    assert await code_of(attempt.finish(now + 60)) == "code"
    assert await code_of(attempt.finish(now - 9)) == "code"  # the clock has been set back


async def test_an_error_of_the_provider_is_not_repeated(attempt: Attempt):
    assert await code_of(attempt.finish(error="access_denied")) == "denied"
    with pytest.raises(Problem) as caught:
        await attempt.finish(error="<script>")
    assert caught.value.code == "provider"
    assert "script" not in (caught.value.reason or "")


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "https://evil.example"},
        {"issuer": f"{ISSUER}/"},
        {"token_endpoint": "http://issuer.example/token"},
        {"jwks_uri": "http://issuer.example/jwks"},
        {"jwks_uri": None},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
    ids=str,
)
async def test_a_discovery_document_that_cannot_be_trusted_is_refused(wrong: dict[str, Any]):
    provider = Provider()
    provider.documents[f"{ISSUER}/.well-known/openid-configuration"] |= wrong
    assert await code_of(Attempt(provider).begin()) == "unavailable"


@pytest.mark.parametrize(
    ("endpoint", "leads_to"),
    [
        (None, None),
        ("http://issuer.example/end", None),
        ("javascript:alert(1)", None),
        (1, None),
        (f"{ISSUER}/end", f"{ISSUER}/end?"),
        (f"{ISSUER}/end?tenant=1", f"{ISSUER}/end?tenant=1&"),
    ],
)
async def test_where_a_person_signs_out_at_the_provider(endpoint: Any, leads_to: str | None):
    provider = Provider()
    provider.documents[f"{ISSUER}/.well-known/openid-configuration"] |= {"end_session_endpoint": endpoint}
    attempt = await Attempt(provider).begin()  # people can sign in in any case
    query = "client_id=gateway&post_logout_redirect_uri=https%3A%2F%2Fgateway.example%2Fdashboard"
    assert await attempt.sign_in.leave(time.time()) == (leads_to and leads_to + query)


async def test_a_silent_provider_keeps_nobody_signed_in():
    provider = Provider()
    provider.documents.clear()
    assert await Attempt(provider).sign_in.leave(time.time()) is None


async def test_known_addresses_serve_while_the_provider_is_silent(attempt: Attempt):
    attempt.provider.documents.clear()
    assert await attempt.begin(time.time() + 3600)


async def test_a_silent_provider_is_not_asked_by_everybody():
    provider = Provider()
    url = f"{ISSUER}/.well-known/openid-configuration"
    document = provider.documents.pop(url)
    attempt, now = Attempt(provider), time.time()
    assert await code_of(attempt.begin(now)) == "unavailable"
    provider.documents[url] = document
    assert await code_of(attempt.begin(now + 4)) == "unavailable"
    assert await attempt.begin(now + 5)


async def test_on_https_the_cookies_have_the_prefix(attempt: Attempt):
    _, (name, value) = await attempt.sign_in.start("", time.time())
    assert name == "set-cookie"
    assert value.startswith("__Host-litellm-router-sign-in=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(value.split("; "))
    assert "Domain" not in value


def test_roles_and_groups():
    roles = role_groups("{'proxy_admin': ['admins'], 'internal_user_viewer': ['guests']}")
    settings = SETTINGS._replace(roles=roles, group_claim="realm_access.roles", role_claim="role")
    for told, role in (
        ({"realm_access": {"roles": ["admins", "guests"]}}, "proxy_admin"),
        ({"realm_access": {"roles": ["guests"]}}, "internal_user_viewer"),
        ({"realm_access": {"roles": "admins"}}, "proxy_admin"),
        ({"realm_access": ["admins"]}, ""),
        ({"role": "proxy_admin_viewer"}, "proxy_admin_viewer"),
        ({"role": ["internal_user", "made_up"]}, "internal_user"),
        ({"role": "administrator"}, ""),
        ({}, ""),
    ):
        assert settings.role_of(told) == role, told
    for wrong in ("[]", "{", '{"root": ["x"]}', '{"proxy_admin": "x"}', '{"proxy_admin": [1]}'):
        with pytest.raises(ValueError, match="write JSON"):
            role_groups(wrong)


def test_addresses_are_safe():
    assert origin("https://Gateway.example:443/") == "https://gateway.example"
    assert origin("http://127.0.0.1:4000") == "http://127.0.0.1:4000"
    for wrong in ("http://gateway.example", "https://g.example/path", "https://u:p@g.example", "g.example", "https://"):
        with pytest.raises(ValueError, match="write"):
            origin(wrong)
    for wrong in ("http://issuer.example", "ftp://issuer.example", "https://issuer.example#x"):
        with pytest.raises(ValueError, match="write an https"):
            safe_address(wrong)


@pytest.mark.parametrize("missing", ["GENERIC_CLIENT_ID", "PROXY_BASE_URL", "OIDC_ISSUER"])
def test_settings_come_together(missing: str):
    values = {"OIDC_ISSUER": ISSUER, "GENERIC_CLIENT_ID": "x", "PROXY_BASE_URL": "https://g.example", missing: None}
    with pytest.raises(ValueError, match=missing):
        settings_of(values.get)
