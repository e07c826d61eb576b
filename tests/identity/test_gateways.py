"""JWTs as keys over HTTP: the proxy alone and the real Worker, with an issuer's real key server."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import httpx
import pytest

from tests.edge.conftest import StartEdge, start_module_edge
from tests.processes import StartProxy

from . import issuer
from .issuer import claims, hmac_token, key_set, token
from .key_server import KeyServer

__all__ = ["start_module_edge"]

pytestmark = pytest.mark.process  # through `start`

MASTER_KEY = "sk-master-of-the-tests"
CHAT = "/v1/chat/completions"
BODY = {"model": "mock", "messages": [{"role": "user", "content": "Hello"}]}
# As text: at the edge the config is written before there is a server.
RULES = {
    "user_id_jwt_field": "sub",
    "team_ids_jwt_field": "groups",
    "user_id_upsert": True,
    "end_user_id_jwt_field": "customer",
    "scope_mappings": [
        {"scope": "models.small", "models": ["mock"]},
        {"scope": "models.all", "models": ["mock", "other"]},
    ],
    "enforce_scope_based_access": True,
}


def config(rules: Mapping[str, Any]) -> dict[str, Any]:
    price = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.001}
    model = {"model": "openai/mock", "api_key": "k", "mock_response": "Hi"}
    return {
        "model_list": [
            {"model_name": name, "litellm_params": model, "model_info": price} for name in ("mock", "other", "third")
        ],
        "litellm_settings": {"max_budget": 100},
        "general_settings": {"enable_jwt_auth": True, "litellm_jwtauth": dict(rules)},
    }


class Gateway(NamedTuple):
    url: str
    log: Callable[[], str]

    def ask(self, method: str, path: str, key: str | None, body: Any = None, **headers: str) -> httpx.Response:
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        return httpx.request(method, self.url + path, headers=headers, json=body, timeout=30)

    def chat(self, key: str, model: str = "mock", **headers: str) -> httpx.Response:
        return self.ask("POST", CHAT, key, {**BODY, "model": model}, **headers)


@pytest.fixture(scope="module")
def server() -> Iterator[KeyServer]:
    found = KeyServer(key_set("RS256", "ES256"))
    yield found
    found.close()


@pytest.fixture(scope="module", params=["alone", "edge"])
def start(request: pytest.FixtureRequest, server: KeyServer) -> Callable[..., Gateway]:
    variables = {
        "JWT_PUBLIC_KEY_URL": server.url,
        "JWT_ISSUER": issuer.ISSUER,
        "JWT_AUDIENCE": issuer.AUDIENCE,
        "FAILED_KEYS_PER_MINUTE": "100000",
    }

    def started(rules: Mapping[str, Any], **more: str) -> Gateway:
        if request.param == "alone":
            start_proxy: StartProxy = request.getfixturevalue("module_proxy")
            proxy = start_proxy(config(rules), master_key=MASTER_KEY, environment={**variables, **more})
            return Gateway(proxy.url, proxy.log)
        start_edge: StartEdge = request.getfixturevalue("start_module_edge")
        edge = start_edge(config(rules), vars={**variables, **more})
        return Gateway(edge.url, edge.log)

    return started


@pytest.fixture(scope="module")
def gateway(start: Callable[..., Gateway]) -> Gateway:
    return start(RULES)


@pytest.fixture(scope="module")
def without_scopes(start: Callable[..., Gateway]) -> Gateway:
    """Its tests make teams and users of their own."""
    return start({"user_id_jwt_field": "sub", "team_ids_jwt_field": "groups", "user_id_upsert": True})


def ours(**more: Any) -> str:
    """A token that may use all models."""
    return token(claims(**{"scope": "models.all", **more}))


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["type"]


def test_a_token_pays_for_a_request(gateway: Gateway):
    answer = gateway.chat(ours(sub="ada"))
    assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "Hi")
    assert gateway.ask("GET", "/v1/models", ours()).status_code == 200


@pytest.mark.parametrize("header", ["x-api-key", "api-key", "x-goog-api-key"])
def test_a_token_in_the_other_headers_for_keys(gateway: Gateway, header: str):
    assert gateway.ask("POST", CHAT, None, BODY, **{header: ours()}).status_code == 200


REFUSED = {
    "alg none": lambda: token().rpartition(".")[0] + ".",
    "HS256 with the PEM": lambda: hmac_token(issuer.pem(issuer.private_key("RS256")).encode()),
    "expired": lambda: ours(exp=int(time.time()) - 100),
    "other audience": lambda: ours(aud="another"),
    "other issuer": lambda: ours(iss="https://evil.example"),
    "user is a number": lambda: ours(sub=1),
    "user is an object": lambda: ours(sub={"a": 1}),
    "user with a line's end": lambda: ours(sub="ada\n"),
    "user is long": lambda: ours(sub="a" * 300),
    "scope is a number": lambda: ours(scope=7),
    "scopes of numbers": lambda: ours(scope=[7]),
    "teams are a number": lambda: ours(groups=7),
    "teams of lists": lambda: ours(groups=[["a"]]),
    "very many teams": lambda: ours(groups=[str(n) for n in range(1000)]),
    "end user is a list": lambda: ours(customer=["x"]),
    "encrypted": lambda: "eyJhbGciOiJkaXIifQ..a.b.c",
    "dots": lambda: "..",
}


@pytest.mark.parametrize("name", [*REFUSED])
@pytest.mark.parametrize(("method", "path"), [("POST", CHAT), ("GET", "/v1/models"), ("POST", "/key/generate")])
def test_a_token_that_is_not_valid_is_a_401_everywhere(gateway: Gateway, name: str, method: str, path: str):
    sent = REFUSED[name]()
    answer = gateway.ask(method, path, sent, BODY if path == CHAT else None)
    assert code(answer) == (401, "authentication_error")
    assert not any(part in answer.text for part in sent.split(".") if len(part) > 8)


def test_a_token_may_be_long_but_not_without_end(gateway: Gateway):
    assert gateway.chat(ours(sub="ada", roles=["r" * 30] * 200)).status_code == 200
    assert gateway.chat(ours(sub="ada", roles=["r" * 30] * 400)).status_code in (400, 401, 431)


def test_without_a_user_and_a_team_nobody_is_let_in(gateway: Gateway):
    for method, path in (("POST", CHAT), ("GET", "/v1/models"), ("GET", "/key/list"), ("POST", "/key/generate")):
        assert code(gateway.ask(method, path, ours(sub=None), BODY if path == CHAT else None)) == (
            403,
            "permission_error",
        )


def test_a_user_has_the_rights_of_a_member(gateway: Gateway):
    for method, path in (("GET", "/global/spend"), ("GET", "/metrics"), ("POST", "/team/new")):
        assert gateway.ask(method, path, ours(sub="ada")).status_code in (403, 404), path
    gateway.chat(ours(sub="eve"))
    assert gateway.chat(ours(sub="ada")).status_code == 200
    found = gateway.ask("GET", "/spend/logs", ours(sub="ada"))
    assert found.status_code == 200
    assert {row["user_id"] for row in found.json()["data"]} == {"ada"}
    assert code(gateway.ask("POST", "/key/generate", ours(sub="ada"), {})) == (403, "permission_error"), "its scopes"


def test_a_team_without_a_user_has_no_access_to_the_admin_api(gateway: Gateway):
    team(gateway, "blue")
    for method, path in (("POST", "/key/generate"), ("GET", "/key/list"), ("GET", "/spend/logs"), ("GET", "/metrics")):
        assert code(gateway.ask(method, path, ours(sub=None, groups=["blue"]))) == (403, "permission_error")


def team(gateway: Gateway, id: str, **fields: Any) -> None:
    made = gateway.ask("POST", "/team/new", MASTER_KEY, {"team_id": id, **fields})
    assert made.status_code == 200, made.text


def test_the_first_team_that_may_use_the_model_pays(gateway: Gateway):
    team(gateway, "red", models=["mock"])
    team(gateway, "green", models=["mock", "other"])
    sent = ours(sub="ada", groups=["unknown", "red", "green"])
    assert [gateway.chat(sent, model).status_code for model in ("mock", "other")] == [200, 200]
    assert code(gateway.chat(ours(sub="ada", groups=["red"]), "other")) == (403, "permission_error")
    assert gateway.chat(sent, **{"x-litellm-team-id": "green"}).status_code == 200
    assert code(gateway.chat(sent, "other", **{"x-litellm-team-id": "red"})) == (403, "permission_error")
    assert code(gateway.chat(sent, **{"x-litellm-team-id": "blue"})) == (403, "permission_error")
    rows = gateway.ask("GET", "/spend/logs", MASTER_KEY).json()["data"]
    paid = [(row["team_id"], row["model"]) for row in rows if row["team_id"] in ("red", "green")]
    assert sorted(paid) == [("green", "mock"), ("green", "other"), ("red", "mock")]


def test_an_unknown_or_blocked_team_is_refused(gateway: Gateway):
    assert code(gateway.chat(ours(groups=["nobody"]))) == (401, "authentication_error")
    team(gateway, "closed")
    sent = ours(groups=["closed"])
    assert gateway.chat(sent).status_code == 200
    assert gateway.ask("POST", "/team/block", MASTER_KEY, {"team_id": "closed"}).status_code == 200
    assert code(gateway.chat(sent)) == (401, "authentication_error")


def test_budgets_of_team_and_user_hold(gateway: Gateway):
    team(gateway, "poor", max_budget=0.000001)
    assert code(gateway.chat(ours(groups=["poor"]))) == (429, "budget_exceeded")
    made = gateway.ask("POST", "/user/new", MASTER_KEY, {"user_id": "poor", "max_budget": 0.000001})
    assert made.status_code == 200, made.text
    assert code(gateway.chat(ours(sub="poor"))) == (429, "budget_exceeded")
    assert gateway.chat(ours(sub="rich")).status_code == 200


def test_the_end_user_of_the_token_precedes_the_clients(gateway: Gateway):
    made = gateway.ask("POST", "/customer/new", MASTER_KEY, {"user_id": "acme", "max_budget": 0.000001})
    assert made.status_code == 200, made.text
    body = {**BODY, "user": "another"}
    answer = gateway.ask("POST", CHAT, ours(customer="acme"), body)
    assert code(answer) == (429, "budget_exceeded")
    assert gateway.ask("POST", CHAT, ours(), body).status_code == 200


def test_nobody_reads_anothers_responses(gateway: Gateway):
    body = {"model": "mock", "input": "Hello", "store": True}
    made = gateway.ask("POST", "/v1/responses", ours(sub="ada"), body)
    assert made.status_code == 200, made.text
    path = f"/v1/responses/{made.json()['id']}"
    team(gateway, "readers")
    others = [ours(sub="eve"), ours(sub=None, groups=["readers"]), MASTER_KEY]
    assert [gateway.ask("GET", path, key).status_code for key in others] == [404] * 3
    follow = {**body, "previous_response_id": made.json()["id"]}
    assert gateway.ask("POST", "/v1/responses", ours(sub="eve"), follow).status_code in (400, 404)


def test_scopes_limit_the_models(gateway: Gateway):
    assert gateway.chat(ours(), "other").status_code == 200
    assert code(gateway.chat(ours(scope="models.small"), "other")) == (403, "permission_error")
    assert gateway.chat(ours(scope="models.small")).status_code == 200
    assert code(gateway.chat(ours(), "third")) == (403, "permission_error")
    assert code(gateway.chat(ours(scope=None))) == (403, "permission_error")
    shown = gateway.ask("GET", "/v1/models", ours(scope="models.small")).json()["data"]
    assert [one["id"] for one in shown] == ["mock"]
    assert gateway.ask("GET", "/v1/models", ours(scope=None)).json()["data"] == []


def test_spending_with_tokens_is_told_from_the_master_keys(gateway: Gateway):
    assert gateway.chat(ours(sub="margaret")).status_code == 200
    assert gateway.chat(MASTER_KEY).status_code == 200

    def logged(key: str) -> list[Any]:
        return gateway.ask("GET", f"/spend/logs?key={key}&size=500", MASTER_KEY).json()["data"]

    assert {row["key_id"] for row in logged("jwt")} == {"jwt"}
    assert "margaret" in {row["user_id"] for row in logged("jwt")}
    assert {(row["key_id"], row["user_id"]) for row in logged("master")} == {("master", None)}
    groups = gateway.ask("GET", "/spend/activity?group_by=key", MASTER_KEY).json()["groups"]
    assert {"", "jwt"} <= {group["group"] for group in groups}


def test_a_token_is_not_logged(gateway: Gateway):
    sent = [ours(sub="grace"), ours(aud="another"), ours(exp=1)]
    answers = [gateway.chat(one) for one in sent]
    assert [answer.status_code for answer in answers] == [200, 401, 401]
    deadline = time.monotonic() + 10
    while answers[0].headers["x-request-id"] not in gateway.log() and time.monotonic() < deadline:
        time.sleep(0.02)
    log = gateway.log()
    assert answers[0].headers["x-request-id"] in log
    assert not any(part in log for one in sent for part in one.split("."))


def test_an_operators_token(gateway: Gateway):
    operator = token(claims(scope="litellm_proxy_admin"))
    for method, path in (
        ("GET", "/key/list"),
        ("GET", "/spend/logs"),
        ("GET", "/global/spend"),
        ("GET", "/model/info"),
    ):
        assert gateway.ask(method, path, operator).status_code == 200, path
    made = gateway.ask("POST", "/key/generate", operator, {"key_alias": "made-by-a-token"})
    assert made.status_code == 200
    assert code(gateway.chat(operator)) == (403, "permission_error")  # LiteLLM's admin_allowed_routes


def test_the_master_key_and_virtual_keys_still_work(gateway: Gateway):
    key = gateway.ask("POST", "/key/generate", MASTER_KEY, {}).json()["key"]
    assert gateway.chat(key).status_code == 200
    assert gateway.chat(MASTER_KEY).status_code == 200
    assert code(gateway.chat("sk-a.b.c")) == (401, "authentication_error")


def test_bad_tokens_count_as_failed_keys(start: Callable[..., Gateway]):
    gateway = start(RULES, FAILED_KEYS_PER_MINUTE="3")
    statuses = [gateway.chat(ours(aud="another")).status_code for _ in range(4)]
    assert statuses == [401, 401, 401, 429]
    assert gateway.chat(ours()).status_code == 200


def test_a_team_by_its_name(start: Callable[..., Gateway]):
    gateway = start({"user_id_jwt_field": "sub", "user_id_upsert": True, "team_alias_jwt_field": "squad"})

    def sent(squad: Any, **more: Any) -> str:
        return token(claims(sub="ada", squad=squad, **more))

    for id, name in (("1", "Blue"), ("2", "Twice"), ("3", "Twice"), ("4", "Closed"), ("5", "it's; --")):
        team(gateway, id, team_alias=name, models=["mock"])
    assert gateway.ask("POST", "/team/block", MASTER_KEY, {"team_id": "4"}).status_code == 200
    for squad, status in (("nobody", 401), ("1", 401), ("blue", 401), ("%", 401), ("Closed", 401), ("Twice", 403)):
        assert gateway.chat(sent(squad)).status_code == status, squad
    for nothing in ("", None):
        assert gateway.chat(sent(nothing)).status_code == 403
    for wrong in (1, ["Blue"], {"a": 1}):
        assert gateway.chat(sent(wrong)).status_code == 401
    for squad, id in (("Blue", "1"), ("it's; --", "5")):
        assert gateway.chat(sent(squad)).status_code == 200
        assert code(gateway.chat(sent(squad), "other")) == (403, "permission_error")
        rows = gateway.ask("GET", f"/spend/logs?team_id={id}", MASTER_KEY).json()["data"]
        assert [row["team_id"] for row in rows] == [id]
    assert gateway.chat(sent("Blue"), **{"x-litellm-team-id": "2"}).status_code == 403


def test_a_user_that_is_not_known(start: Callable[..., Gateway]):
    gateway = start({"user_id_jwt_field": "sub"})
    assert code(gateway.chat(token(claims(sub="nobody")))) == (401, "authentication_error")
    assert code(gateway.ask("GET", "/v1/models", token(claims(sub="nobody")))) == (401, "authentication_error")


def test_an_alias_of_a_tokens_team(gateway: Gateway):
    """Also one that hides a model, and also when it has just been changed."""

    def team(action: str, **aliases: str) -> None:
        fields = {"team_id": "aliased", "model_aliases": aliases}
        assert gateway.ask("POST", f"/team/{action}", MASTER_KEY, fields).status_code == 200

    key = ours(sub="ada", groups=["aliased"])
    team("new", other="third")
    for target in ("third", "mock", "third"):
        team("update", other=target)
        for _ in range(2):
            answer = gateway.chat(key, "other")
            assert (answer.status_code, answer.headers["x-litellm-model-group"]) == (200, target)
    assert gateway.chat(key, "third").status_code == 403
    listed = [one["id"] for one in gateway.ask("GET", "/v1/models", key).json()["data"]]
    assert "other" in listed
    assert "third" not in listed
    team("update")
    for _ in range(2):
        assert gateway.chat(key, "other").headers["x-litellm-model-group"] == "other"
    small = token(claims(sub="ada", groups=["aliased"], scope="models.small"))
    team("update", other="mock", mock="third")
    assert gateway.chat(small, "other").status_code == 403
    assert gateway.chat(small, "mock").headers["x-litellm-model-group"] == "third"


def test_an_alias_that_a_tokens_team_has_just_got(without_scopes: Gateway):
    """What a door remembers of the team lets its models exclude the name. A large upload can be sent only once."""
    gateway = without_scopes
    key = token(claims(sub="ada", groups=["new"]))

    def upload(name: str) -> httpx.Response:
        """A large one, which costs little."""
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        content = json.dumps({**BODY, "model": name}) + " " * 100_000
        return httpx.post(gateway.url + CHAT, headers=headers, content=content, timeout=30)

    def alias(**aliases: str) -> None:
        fields = {"team_id": "new", "model_aliases": aliases}
        assert gateway.ask("POST", "/team/update", MASTER_KEY, fields).status_code == 200

    team(gateway, "new", models=["mock"])
    assert gateway.chat(key).status_code == 200
    for name in ("other", "fast"):  # a model's name, and none
        alias(**{name: "third"})
        assert gateway.chat(key, name).headers["x-litellm-model-group"] == "third"
        alias()
        assert gateway.chat(key, name).status_code == 403
        alias(**{name: "third"})
        answers = [upload(name) for _ in range(2)]
        assert answers[0].status_code in (200, 403, 503)
        assert answers[1].headers["x-litellm-model-group"] == "third"
        alias(**{name: "mock"})
        answers = [upload(name) for _ in range(2)]
        assert answers[0].status_code in (200, 503)
        assert answers[1].headers["x-litellm-model-group"] == "mock"


def test_teams_with_more_models_than_the_edge_can_tell_a_container(without_scopes: Gateway):
    gateway = without_scopes
    names = [f"many{n}" for n in range(3)]
    for id in names:
        team(gateway, id, models=["mock", *(f"{id}-{number}-{'x' * 60}" for number in range(400))])
    one, many = (token(claims(sub="ada", groups=groups)) for groups in (names[:1], names))
    assert gateway.ask("GET", "/v1/models", one).status_code == 200
    assert gateway.chat(many).status_code == 200
    answer = gateway.ask("GET", "/v1/models", many)
    if answer.status_code != 200:  # at the edge alone
        assert code(answer) == (403, "permission_error")
        assert "patterns" in answer.json()["error"]["message"]


def test_a_fallbacks_alias_is_one_of_the_team_that_pays(without_scopes: Gateway):
    """Not of another team of the JWT, whose models the one that pays may not use. And it is the team's present one."""
    gateway = without_scopes
    team(gateway, "pays", models=["mock", "v*"], model_aliases={"own": "other"})
    team(gateway, "looks on", models=["third"], model_aliases={"virtual": "third"})
    key = token(claims(sub="ada", groups=["looks on", "pays"]))

    def ask(*fallbacks: str) -> int:
        return gateway.ask("POST", CHAT, key, {**BODY, "fallbacks": [*fallbacks]}).status_code

    assert gateway.chat(key, "virtual").headers["x-litellm-model-group"] == "third"
    assert ask("virtual") == 404
    assert ask("own") == 200
    fields = {"team_id": "pays", "model_aliases": {"own": "third"}}
    assert gateway.ask("POST", "/team/update", MASTER_KEY, fields).status_code == 200
    refused = gateway.ask("POST", CHAT, key, {**BODY, "fallbacks": ["own"]})
    assert (refused.status_code, refused.json()["error"]["message"]) == (
        503,
        "A model alias has just changed. Try again.",
    )
    assert ask("own") == 200
