"""What a virtual key may query: itself and its models."""

from pathlib import Path

import pytest

from tests.admin.conftest import Gateway
from tests.container.raw import ask
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, StartProxy


async def made(gateway: Gateway, **fields) -> tuple[str, str]:
    answer = await gateway.post("/key/generate", fields)
    return answer["key"], answer["token"]


async def test_a_key_sees_itself_without_its_secret(gateway: Gateway):
    key, token = await made(gateway, key_alias="mine", max_budget=2)
    for path in ("/key/info", "/v1/key/info", f"/key/info?key={key}", f"/key/info?key={token}"):
        answer = await gateway.ask("GET", path, key=key)
        assert answer.status == 200, (path, answer.body)
        assert (answer.json["key"], answer.json["info"]["key_alias"], answer.json["info"]["max_budget"]) == (
            token,
            "mine",
            2,
        )
        assert key.encode() not in answer.body


async def test_a_key_sees_no_other_key(gateway: Gateway):
    key, _ = await made(gateway)
    other, token = await made(gateway)
    for named in (other, token, "sk-unheard-of", "0" * 64):
        answer = await gateway.ask("GET", f"/key/info?key={named}", key=key)
        assert (answer.status, answer.json["error"]["type"]) == (403, "permission_error")


async def test_a_key_in_its_grace_period_sees_itself(gateway: Gateway):
    old, _ = await made(gateway, key_alias="mine")
    await gateway.post(f"/key/{old}/regenerate", {"grace_period": "1h"})
    assert (await gateway.ask("GET", "/key/info", key=old)).json["info"]["key_alias"] == "mine"


@pytest.mark.parametrize("path", ["/key/list", "/spend/logs", "/spend/keys", "/global/spend", "/spend/activity"])
async def test_a_virtual_key_may_query_nothing_else(gateway: Gateway, path: str):
    key, token = await made(gateway)
    assert (await gateway.ask("GET", f"{path}?key={token}", key=key)).status == 403


async def test_the_master_key_must_name_a_key(gateway: Gateway):
    assert (await gateway.ask("GET", "/key/info")).status == 400


def test_a_key_lists_only_its_models(module_proxy: StartProxy, tmp_path: Path):
    with FakeProvider() as fake:
        params = {"model": "openai/x", "api_base": fake.openai_base, "api_key": "sk-s3cret"}
        info = {"input_cost_per_token": 1e-6, "output_cost_per_token": "2e-6", "note": "s3cret", "mode": "chat"}
        content = {
            "model_list": [
                {"model_name": "mine", "litellm_params": params, "model_info": info},
                {"model_name": "other", "litellm_params": params},
                {"model_name": "off", "litellm_params": {"model": "groq/x"}},
            ]
        }
        proxy = module_proxy(content, environment={"LEDGER_PATH": str(tmp_path / "ledger.db")})

        def asked(path: str, key: str = MASTER_KEY, method: str = "GET", body: bytes = b""):
            return ask(proxy.port, method, path, {"authorization": f"Bearer {key}"}, body)

        key = asked("/key/generate", method="POST", body=b'{"models": ["mine", "off"]}').json["key"]
        answer = asked("/v1/model/info", key)
        [one] = answer.json["data"]
        assert (answer.status, one["model_name"], one["set"], one["health"]) == (200, "mine", [], None)
        assert (
            one["model_info"].items()
            >= {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "mode": "chat"}.items()
        )
        assert b"s3cret" not in answer.body
        assert b"GROQ_API_KEY" not in answer.body
        free = asked("/key/generate", method="POST", body=b"{}").json["key"]
        assert [one["model_name"] for one in asked("/model/info", free).json["data"]] == ["mine", "other"]
        assert [one["model_name"] for one in asked("/model/info").json["data"]] == ["mine", "other", "off"]
