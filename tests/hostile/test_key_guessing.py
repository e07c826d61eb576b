"""Key guessing: attempts get 429 after a while, reveal nothing about keys, and lock out no one else."""

from typing import Any

import httpx
import pytest

from tests.edge.conftest import Edge, StartEdge, start_module_edge
from tests.fakes.server import FakeProvider
from tests.money import deployment
from tests.processes import MASTER_KEY, StartProxy
from tests.reload.conftest import events, wait_for_event

__all__ = ["start_module_edge"]

LIMIT = 5
CHAT = "/v1/chat/completions"
BODY = {"model": "gpt", "messages": [{"role": "user", "content": "Hi"}]}
MASTER = {"authorization": f"Bearer {MASTER_KEY}"}


def shown(answer: httpx.Response) -> dict[str, Any]:
    """Everything a client without a key sees, except what differs between any two responses."""
    return {
        "status": answer.status_code,
        "headers": {n: v for n, v in answer.headers.items() if n not in ("date", "x-request-id")},
        "body": answer.text,
    }


def tried(http: httpx.Client, count: int, **headers: str) -> list[int]:
    return [
        http.get("/v1/models", headers={"authorization": f"Bearer sk-wrong-{number}", **headers}).status_code
        for number in range(count)
    ]


def test_many_wrong_keys_get_429_and_a_valid_one_is_accepted(proxy: StartProxy, fake: FakeProvider):
    gateway = proxy({"model_list": [deployment(fake, "gpt")]}, environment={"FAILED_KEYS_PER_MINUTE": str(LIMIT)})
    with httpx.Client(base_url=gateway.url) as http:
        key = http.post("/key/generate", json={}, headers=MASTER).json()["key"]
        assert tried(http, LIMIT + 2) == [401] * LIMIT + [429] * 2
        refused = http.post(CHAT, json=BODY, headers={"x-api-key": "sk-no-key-at-all"})
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.json()["error"]["code"] == "too_many_failed_keys"
        for valid in (MASTER_KEY, key):
            assert http.post(CHAT, json=BODY, headers={"authorization": f"Bearer {valid}"}).status_code == 200
        assert http.post(CHAT, json=BODY).status_code == 401, "who sends no key guesses nothing"
        # Another header for the key, or a forged client address, changes nothing.
        assert tried(http, 1, **{"x-forwarded-for": "198.51.100.7", "cf-connecting-ip": "198.51.100.7"}) == [429]
    wait_for_event(gateway, "failed_keys")
    assert len(events(gateway, "failed_keys")) == 1
    assert "sk-wrong" not in gateway.log()


def test_behind_a_trusted_proxy_each_client_is_counted_separately(proxy: StartProxy, fake: FakeProvider):
    trusting = {"FAILED_KEYS_PER_MINUTE": str(LIMIT), "TRUSTED_PROXIES": "127.0.0.0/8"}
    gateway = proxy({"model_list": [deployment(fake, "gpt")]}, environment=trusting)
    with httpx.Client(base_url=gateway.url) as http:
        assert tried(http, LIMIT + 1, **{"x-forwarded-for": "198.51.100.1"})[-1] == 429
        assert tried(http, 1, **{"x-forwarded-for": "198.51.100.2"}) == [401]
        assert tried(http, 1, **{"x-forwarded-for": "198.51.100.2, 198.51.100.1"}) == [429]


def test_header_line_of_a_trusted_proxy_counts_and_the_clients_does_not(proxy: StartProxy, fake: FakeProvider):
    trusting = {"FAILED_KEYS_PER_MINUTE": str(LIMIT), "TRUSTED_PROXIES": "127.0.0.0/8"}
    gateway = proxy({"model_list": [deployment(fake, "gpt")]}, environment=trusting)
    with httpx.Client(base_url=gateway.url) as http:
        statuses = [
            http.get(
                "/v1/models",
                headers=[
                    ("authorization", f"Bearer sk-wrong-{number}"),
                    ("x-forwarded-for", f"203.0.113.{number}"),  # the client's, a different one each time
                    ("X-Forwarded-For", f"198.51.100.1:{5000 + number}"),  # the proxy's
                ],
            ).status_code
            for number in range(LIMIT + 2)
        ]
    assert statuses == [401] * LIMIT + [429] * 2


def test_unknown_blocked_expired_replaced_and_deleted_keys_look_the_same(proxy: StartProxy, fake: FakeProvider):
    gateway = proxy({"model_list": [deployment(fake, "gpt")]})
    with httpx.Client(base_url=gateway.url) as http:

        def admin(path: str, **fields: Any) -> dict[str, Any]:
            answer = http.post(path, json=fields, headers=MASTER)
            assert answer.status_code == 200, answer.text
            return answer.json()

        keys = {state: admin("/key/generate")["key"] for state in ("blocked", "replaced", "deleted")}
        keys["expired"] = admin("/key/generate", duration="1s")["key"]
        keys["unknown"] = "sk-" + "u" * len(keys["expired"][3:])
        admin("/key/block", key=keys["blocked"])
        admin(f"/key/{keys['replaced']}/regenerate")
        admin("/key/delete", keys=[keys["deleted"]])
        while http.get("/v1/models", headers={"x-api-key": keys["expired"]}).status_code == 200:
            pass
        for method, path in (("GET", "/v1/models"), ("POST", CHAT), ("GET", "/key/info"), ("POST", "/key/update")):
            answers = {
                state: shown(http.request(method, path, json=BODY, headers={"authorization": f"Bearer {key}"}))
                for state, key in keys.items()
            }
            assert all(answer == answers["unknown"] for answer in answers.values()), answers
            assert answers["unknown"]["status"] == 401


@pytest.fixture(scope="module")
def edge(start_module_edge: StartEdge) -> Edge:
    mock = {"model": "openai/mock", "mock_response": "Hello!"}
    config = {"model_list": [{"model_name": "gpt", "litellm_params": mock}]}
    return start_module_edge(config, vars={"FAILED_KEYS_PER_MINUTE": str(LIMIT)}, local=False)


def test_at_the_edge_cloudflare_provides_the_client_address(edge: Edge):
    with httpx.Client(base_url=edge.url, timeout=30) as http:
        one, other = {"cf-connecting-ip": "198.51.100.1"}, {"cf-connecting-ip": "198.51.100.2"}
        assert tried(http, LIMIT + 1, **one) == [401] * LIMIT + [429]
        assert tried(http, 1, **one, **{"x-forwarded-for": "192.0.2.1"}) == [429]
        assert tried(http, 1, **other) == [401]
        assert http.post(CHAT, json=BODY, headers={**MASTER, **one}).status_code == 200
    assert "sk-wrong" not in edge.log()
