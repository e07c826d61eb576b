"""Codes and states that somebody invents, at both doors: few of them reach the provider."""

from urllib.parse import urlencode

import httpx

from tests.sign_in.conftest import Gateway
from tests.sign_in.test_sign_in import asked, failed

MORE = {"FAILED_KEYS_PER_MINUTE": "3"}


def test_invented_answers(gateway: Gateway):
    before = gateway.provider.token_requests
    eve = gateway.person("eve")
    callback = f"{gateway.url}/dashboard/sign-in/callback?"
    for state in ("", "invented", "a" * 43):
        query = urlencode({"code": "invented", "state": state, "iss": gateway.provider.issuer})
        assert failed(httpx.get(callback + query)) == "expired"
        eve.begin()
        assert failed(eve.back(callback + query)) == "state"
    assert gateway.provider.token_requests == before
    codes: list[str] = []
    for _ in range(5):  # anybody may begin a sign-in, so the state is valid
        state = asked(eve.begin())["state"]
        query = urlencode({"code": "invented", "state": state, "iss": gateway.provider.issuer})
        codes.append(failed(eve.back(callback + query)))
    assert codes == ["code", "code", "code", "often", "often"]
    assert gateway.provider.token_requests == before + 3
    assert gateway.call("/key/list").status_code == 200
