"""Sign-in at a real OpenID provider, over HTTP, at both doors: what works, and what an attacker tries."""

import time
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from tests.sign_in.conftest import Gateway, StartAlone
from tests.sign_in.provider import Person


def failed(answer: httpx.Response) -> str:
    """The code of a sign-in that failed. It leads back to the dashboard and signs nobody in."""
    assert answer.status_code == 302, answer.text
    path, _, code = answer.headers["location"].partition("?sign_in_error=")
    assert path == "/dashboard", answer.headers
    assert not any("router-session=" in cookie for cookie in answer.headers.get_list("set-cookie"))
    return code


def asked(address: str) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(urlsplit(address).query, keep_blank_values=True).items()}


def changed(address: str, **query: str | None) -> str:
    """The address with other parameters; None leaves one out."""
    fields = {name: value for name, value in {**asked(address), **query}.items() if value is not None}
    return f"{address.partition('?')[0]}?{urlencode(fields)}"


def test_nobody_is_signed_in(gateway: Gateway):
    assert gateway.person("bob").session == {"sign_in": "/dashboard/sign-in", "error": None, "user": None}


def test_a_member_signs_in_and_out(gateway: Gateway):
    bob = gateway.signed_in("bob")
    user = bob.user
    assert user.pop("expires_at")
    assert user == {
        "user_id": "bob",
        "name": "Bob",
        "email": "bob@example.com",
        "role": "member",
        "reads_only": False,
        "teams": [],  # the team of the claim does not exist
    }
    assert bob.get("/key/list").status_code == 200
    cookies = bob.cookies
    assert bob.post("/dashboard/sign-out").json()["signed_out"] is True
    assert bob.user is None
    again = httpx.get(f"{gateway.url}/key/list", cookies=cookies)  # a copy of the cookie
    assert (again.status_code, again.json()["error"]["code"]) == (401, "session_ended")


def test_a_member_signs_out_at_the_provider_too(gateway: Gateway):
    bob = gateway.signed_in("bob")
    answer = bob.client.get(bob.begin())  # the provider knows bob
    assert answer.is_redirect, answer.text
    told = bob.post("/dashboard/sign-out", {"post_logout_redirect_uri": "https://evil.example"})
    assert bob.user is None  # already now, whatever the provider and the browser do
    leads_to = told.json()["continue_at"]
    assert leads_to.startswith(f"{gateway.provider.issuer}/session/end?")
    assert asked(leads_to) == {"client_id": "gateway", "post_logout_redirect_uri": f"{gateway.url}/dashboard"}
    assert bob.leave_provider(leads_to) == f"{gateway.url}/dashboard"
    assert "interaction" in bob.client.get(bob.begin()).headers["location"]
    assert bob.post("/dashboard/sign-out").json() == {"signed_out": True, "continue_at": None}


def test_an_operator_has_the_role_of_a_group(gateway: Gateway):
    root = gateway.signed_in("root")
    assert root.user["role"] == "operator"
    assert root.get("/global/spend").status_code == 200
    assert [model["model_name"] for model in root.get("/model/info").json()["data"]] == ["gpt", "claude"]
    assert root.post("/key/generate", {"user_id": "somebody"}).status_code == 200


def test_the_master_key_still_works_beside_a_session(gateway: Gateway):
    bob = gateway.signed_in("bob")
    assert bob.get("/global/spend").status_code == 403
    master = gateway.call("/global/spend").request.headers["authorization"]
    assert bob.get("/global/spend", headers={"authorization": master}).status_code == 200


def test_the_cookies_are_safe(gateway: Gateway):
    bob = gateway.person("bob")
    begun = bob.get("/dashboard/sign-in")
    (login,) = begun.headers.get_list("set-cookie")
    assert login.startswith("litellm-router-sign-in=")
    assert {"Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=600"} <= set(login.split("; "))
    assert begun.headers["cache-control"] == "no-store"
    answer = bob.back(bob.at_provider(begun.headers["location"]))
    session, cleared = answer.headers.get_list("set-cookie")
    assert {"Path=/", "HttpOnly", "SameSite=Strict"} <= set(session.split("; "))
    assert len(session.partition("=")[2].partition(";")[0]) == 43
    assert cleared.startswith("litellm-router-sign-in=; ")
    assert "Max-Age=0" in cleared


def test_the_request_to_the_provider_is_bound_to_the_browser(gateway: Gateway):
    one, other = (asked(gateway.person("bob").begin()) for _ in range(2))
    assert (one["response_type"], one["code_challenge_method"], one["scope"]) == (
        "code",
        "S256",
        "openid email profile",
    )
    assert one["redirect_uri"] == f"{gateway.url}/dashboard/sign-in/callback"
    for name in ("state", "nonce", "code_challenge"):
        assert len(one[name]) == 43
        assert one[name] != other[name]
    assert len({one["state"], one["nonce"], one["code_challenge"]}) == 3


def test_the_redirect_is_to_the_configured_address_whatever_the_host_header_says(gateway: Gateway):
    bob = gateway.person("bob")
    answer = bob.get("/dashboard/sign-in", headers={"host": "evil.example", "x-forwarded-host": "evil.example"})
    assert asked(answer.headers["location"])["redirect_uri"] == f"{gateway.url}/dashboard/sign-in/callback"


@pytest.mark.parametrize(
    ("back", "leads_to"),
    [
        ("/dashboard", "/dashboard"),
        ("/dashboard#/keys?search=a%20b", "/dashboard#/keys?search=a%20b"),
        ("https://evil.example", "/dashboard"),
        ("//evil.example/dashboard", "/dashboard"),
        ("/dashboard.evil.example", "/dashboard"),
        ("/dashboard/../key/list", "/dashboard"),
        ("/dashboard@evil.example", "/dashboard"),
        ("/\\evil.example", "/dashboard"),
        ("/dashboard?x=\r\nset-cookie: a=b", "/dashboard"),
        ("/dashboard?\\\\evil", "/dashboard"),
        ("javascript:alert(1)", "/dashboard"),
        ("/dashboard?" + "x" * 9999, "/dashboard"),
    ],
)
def test_a_sign_in_leads_back_to_the_dashboard_only(gateway: Gateway, back: str, leads_to: str):
    bob = gateway.person("bob")
    answer = bob.sign_in(back)
    assert (answer.status_code, answer.headers["location"]) == (302, leads_to)
    assert bob.user["user_id"] == "bob"


def test_a_code_works_once(gateway: Gateway):
    bob = gateway.person("bob")
    address = bob.at_provider(bob.begin())
    login = bob.cookies
    assert bob.back(address).headers["location"] == "/dashboard"
    assert failed(bob.back(address)) == "expired"  # the cookie has been used up
    assert failed(httpx.get(address, cookies=login)) == "code"  # a copy of it


def test_a_code_is_of_no_use_in_another_browser(gateway: Gateway):
    bob, eve = gateway.person("bob"), gateway.person("eve")
    address = bob.at_provider(bob.begin())
    assert failed(httpx.get(address)) == "expired"
    eve.begin()
    assert failed(eve.back(address)) == "state"
    # Even with a state of her own the code is bound to Bob's verifier.
    own = asked(eve.begin())["state"]
    assert failed(eve.back(changed(address, state=own))) == "code"
    assert eve.user is None


@pytest.mark.parametrize("state", [None, "", "x", "é", "A" * 43])
def test_a_wrong_state_is_refused(gateway: Gateway, state: str | None):
    bob = gateway.person("bob")
    address = bob.at_provider(bob.begin())
    assert failed(bob.back(changed(address, state=state))) == "state"
    assert bob.user is None


def test_a_repeated_parameter_is_refused(gateway: Gateway):
    bob = gateway.person("bob")
    address = bob.at_provider(bob.begin())
    assert failed(bob.back(f"{address}&state=x")) == "state"


@pytest.mark.parametrize("issuer", [None, "https://evil.example", ""])
def test_an_answer_of_another_issuer_is_refused(gateway: Gateway, issuer: str | None):
    """RFC 9207. This provider says that it always names itself."""
    bob = gateway.person("bob")
    address = bob.at_provider(bob.begin())
    assert asked(address)["iss"] == gateway.provider.issuer
    assert failed(bob.back(changed(address, iss=issuer))) == "issuer"


@pytest.mark.parametrize("cookie", ["", "x", "1.2.3.4", "....", "9" * 99 + ".a.b.c", "é"])
def test_a_forged_cookie_is_refused(gateway: Gateway, cookie: str):
    bob = gateway.person("bob")
    address = bob.at_provider(bob.begin())
    header = {"cookie": f"litellm-router-sign-in={cookie}".encode()}
    assert failed(httpx.get(address, headers=header)) == "expired"


def test_a_code_of_another_client_is_refused(gateway: Gateway):
    bob = gateway.person("bob")
    begun = bob.begin()
    address = bob.at_provider(changed(begun, client_id="other"))
    assert failed(bob.back(address)) == "code"


def test_a_person_who_does_not_agree_is_not_signed_in(gateway: Gateway):
    bob = gateway.person("bob")
    answer = bob.back(bob.at_provider(bob.begin(), agrees=False))
    assert failed(answer) == "denied"
    shown = bob.get(answer.headers["location"].replace("/dashboard", "/dashboard/session")).json()
    assert "did not let you in" in shown["error"]
    assert "evil" not in bob.get("/dashboard/session?sign_in_error=<evil>").text


def test_every_session_has_a_new_id(gateway: Gateway):
    bob = gateway.person("bob")
    fixed = "A" * 43
    bob.client.cookies.set("litellm-router-session", fixed, domain="127.0.0.1", path="/")
    bob.sign_in()
    first = httpx.get(f"{gateway.url}/key/list", cookies={"litellm-router-session": fixed})
    assert first.status_code == 401
    assert bob.cookies["litellm-router-session"] != fixed


def test_a_new_sign_in_ends_the_browsers_old_session(gateway: Gateway):
    bob = gateway.signed_in("bob")
    before = bob.cookies
    bob.sign_in()
    assert bob.user
    assert httpx.get(f"{gateway.url}/key/list", cookies=before).status_code == 401


@pytest.mark.parametrize("id", ["", "x", "A" * 43, "A" * 44, "é", "'; DROP TABLE ledger_sessions; --"])
def test_an_unknown_session_is_nobodys(gateway: Gateway, id: str):
    header = {"cookie": f"litellm-router-session={id}".encode()}
    answer = httpx.get(f"{gateway.url}/key/list", headers=header)
    assert answer.status_code == 401
    assert httpx.get(f"{gateway.url}/dashboard/session", headers=header).json()["user"] is None


def test_two_cookies_of_one_name_are_none(gateway: Gateway):
    bob = gateway.signed_in("bob")
    id = bob.cookies["litellm-router-session"]
    twice = {"cookie": f"litellm-router-session={id}; litellm-router-session={'A' * 43}"}
    assert httpx.get(f"{gateway.url}/key/list", headers=twice).status_code == 401


ATTACKS = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": None},
    {"x_litellm_router_session": None},
    {"x_litellm_router_session": "0"},
    {"origin": None, "x_litellm_router_session": None, "content_type": "text/plain"},
]


@pytest.mark.parametrize("headers", ATTACKS)
@pytest.mark.parametrize("path", ["/key/generate", "/dashboard/sign-out", "/dashboard/sessions/revoke"])
def test_a_page_of_another_site_changes_nothing(gateway: Gateway, headers: dict[str, str | None], path: str):
    root = gateway.signed_in("root")
    before = root.get("/key/list").json()["total_count"]
    answer = root.post(path, {"user_id": "root"} if "revoke" in path else {}, **headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site")
    assert root.get("/key/list").json()["total_count"] == before
    assert root.user


def test_a_session_calls_no_model(gateway: Gateway):
    root = gateway.signed_in("root")
    chat = {"model": "gpt", "messages": [{"role": "user", "content": "Hello"}]}
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses"):
        assert root.post(path, chat).status_code == 401
    assert root.get("/v1/models").status_code in (200, 401)  # PUBLIC_MODELS at the edge of a developer's machine


def test_an_operator_revokes_a_users_sessions(gateway: Gateway):
    bob, elsewhere, root = gateway.signed_in("bob"), gateway.signed_in("bob"), gateway.signed_in("root")
    assert bob.post("/dashboard/sessions/revoke", {"user_id": "bob"}).status_code == 403
    answer = root.post("/dashboard/sessions/revoke", {"user_id": "bob"})
    assert answer.json()["sessions_ended"] >= 2
    for person in (bob, elsewhere):
        assert person.get("/key/list").status_code == 401
        assert person.user is None
    assert root.user
    assert gateway.signed_in("bob").user


@pytest.mark.parametrize("how", ["deleted", "blocked"])
def test_the_sessions_of_a_user_end_with_it(gateway: Gateway, how: str):
    name = f"{how}-one"
    person = gateway.signed_in(name)
    if how == "deleted":
        done = gateway.call("/user/delete", {"user_ids": [name]})
    else:
        done = gateway.call("/user/update", {"user_id": name, "blocked": True})
    assert done.status_code == 200, done.text
    refused = person.get("/key/list")
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "session_ended")
    assert person.user is None
    again = person.sign_in()
    if how == "blocked":
        assert failed(again) == "blocked"
    else:
        assert person.user["user_id"] == name


def test_a_head_request_has_no_body(gateway: Gateway):
    answer = httpx.head(f"{gateway.url}/dashboard/session")
    assert (answer.status_code, answer.content) == (200, b"")


# Settings, alone.


def test_without_settings_there_is_no_sign_in(start_alone: StartAlone):
    gateway = start_alone(OIDC_ISSUER="", GENERIC_CLIENT_ID="")
    assert gateway.person("bob").session == {"sign_in": None, "error": None, "user": None}
    for method, path in (
        ("GET", "/dashboard/sign-in"),
        ("GET", "/dashboard/sign-in/callback"),
        ("POST", "/dashboard/sign-out"),
    ):
        assert httpx.request(method, gateway.url + path).status_code == 404
    cookie = {"litellm-router-session": "A" * 43}
    assert httpx.get(f"{gateway.url}/key/list", cookies=cookie).status_code == 401


@pytest.mark.parametrize("client", ["with-secret", "eddsa"])
def test_other_clients_and_algorithms(start_alone: StartAlone, client: str):
    secret = {"GENERIC_CLIENT_SECRET": "s3cret/+ of the tests"} if client == "with-secret" else {}
    gateway = start_alone(GENERIC_CLIENT_ID=client, **secret)
    assert gateway.signed_in("bob").user["user_id"] == "bob"


def test_a_wrong_client_secret_is_the_operators_problem(start_alone: StartAlone):
    gateway = start_alone(GENERIC_CLIENT_ID="with-secret", GENERIC_CLIENT_SECRET="wrong-s3cret")
    bob = gateway.person("bob")
    answer = bob.sign_in()
    assert failed(answer) == "provider"
    assert "s3cret" not in answer.text


def test_a_provider_that_is_down_is_said(start_alone: StartAlone):
    gateway = start_alone(OIDC_ISSUER="http://127.0.0.1:9")
    assert failed(gateway.person("bob").get("/dashboard/sign-in")) == "unavailable"


def test_an_issuer_that_is_not_the_one_that_answers_is_refused(start_alone: StartAlone, provider):
    gateway = start_alone(OIDC_ISSUER=provider.issuer + "/")
    assert failed(gateway.person("bob").get("/dashboard/sign-in")) == "unavailable"


def test_an_unverified_address_is_nobodys(start_alone: StartAlone, provider):
    gateway = start_alone(GENERIC_USER_ID_ATTRIBUTE="email")
    provider.set("claims", {"email_verified": False})
    try:
        assert failed(gateway.person("bob").sign_in()) == "claims"
    finally:
        provider.set("claims", {})
    assert gateway.signed_in("bob").user["user_id"] == "bob@example.com"


def test_sessions_end_with_their_hours(start_alone: StartAlone):
    gateway = start_alone(SESSION_HOURS="0.0003")
    bob = gateway.person("bob")
    bob.sign_in()
    deadline = time.monotonic() + 20
    while bob.user is not None:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_people_have_cookies_of_their_own(gateway: Gateway):
    bob, root = gateway.signed_in("bob"), gateway.signed_in("root")
    assert (bob.user["user_id"], root.user["user_id"]) == ("bob", "root")
    assert isinstance(bob, Person)
