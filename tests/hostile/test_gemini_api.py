"""Odd bodies for Gemini's API: a clear refusal in Google's format, never an internal error."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, RunningProxy, StartProxy

# Values of every type, at every place of a request that has every part.
ODD: tuple[Any, ...] = (None, True, -1, 0, 2**62, 1.5, "", "text", [], [None], [[]], {}, {"a": None}, {"text": []})
REQUEST: dict[str, Any] = {
    "contents": [
        {"role": "user", "parts": [{"text": "Hi"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
        {
            "role": "model",
            "parts": [
                {"text": "hm", "thought": True, "thoughtSignature": "c2ln"},
                {"functionCall": {"id": "1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"},
            ],
        },
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "id": "1",
                        "name": "f",
                        "response": {"output": "x"},
                        "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}],
                    }
                },
                {"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/a.png"}},
            ],
        },
    ],
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "tools": [
        {
            "functionDeclarations": [
                {
                    "name": "f",
                    "description": "F",
                    "parameters": {
                        "type": "OBJECT",
                        "properties": {"a": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "1"}},
                        "required": ["a"],
                    },
                }
            ]
        }
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    "generationConfig": {
        "temperature": 1,
        "topK": 4,
        "stopSequences": ["x"],
        "maxOutputTokens": 10,
        "candidateCount": 1,
        "responseMimeType": "application/json",
        "responseSchema": {"type": "STRING", "nullable": True, "anyOf": [{"type": "STRING"}]},
        "thinkingConfig": {"thinkingBudget": 10, "thinkingLevel": "LOW", "includeThoughts": True},
        "logprobs": 1,
        "responseModalities": ["TEXT"],
    },
    "safetySettings": [{"category": "x"}],
    "serviceTier": "standard",
    "labels": {"a": "b"},
}
EMBEDDING: dict[str, Any] = {"requests": [{"content": {"parts": [{"text": "Hi"}]}, "outputDimensionality": 8}]}


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy, providers: FakeProvider) -> RunningProxy:
    gpt = {"model": "openai/gpt-4o", "api_base": providers.openai_base, "api_key": "sk-provider"}
    gemini = {"model": "gemini/gemini-2.5-flash", "api_base": providers.gemini_base, "api_key": "AIza-provider"}
    claude = {"model": "anthropic/claude-sonnet-4-5", "api_base": providers.url, "api_key": "sk-ant-provider"}
    listed = {"gpt": gpt, "gemini": gemini, "claude": claude, "mock": {"model": "openai/x", "mock_response": "Hi"}}
    models = [{"model_name": name, "litellm_params": params} for name, params in listed.items()]
    return module_proxy({"model_list": models, "router_settings": {"num_retries": 0, "disable_cooldowns": True}})


@pytest.fixture(scope="module")
def client(gateway: RunningProxy) -> Iterator[httpx.Client]:
    headers = {"x-goog-api-key": MASTER_KEY, "content-type": "application/json"}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=30) as one:
        yield one


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield from places(one, (*path, name))


def replaced(body: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(body)
    holder: Any = made
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value
    return made


def judge(answer: httpx.Response) -> None:
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        error = answer.json()["error"]
        assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
        assert error["message"]


# Answers that do not depend on the request, which the fake could not read.
ANSWERS: dict[str, Any] = {
    "gpt": {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]},
    "gemini": {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]},
    "claude": {"type": "message", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn", "usage": {}},
    "mock": {},
}


@pytest.mark.parametrize("model", ANSWERS)
def test_odd_values_at_every_place(client: httpx.Client, provider: FakeProvider, gateway: RunningProxy, model: str):
    path = f"/v1beta/models/{model}:generateContent"
    provider.always(Behaviour(raw=(json.dumps(ANSWERS[model]).encode(),)))
    assert client.post(path, json=REQUEST).status_code == 200
    # Every model gets its own share of the values, so that all together get all.
    step = list(ANSWERS).index(model)
    for number, place in enumerate(places(REQUEST)):
        for value in ODD[(number + step) % 4 :: 4]:
            judge(client.post(path, json=replaced(REQUEST, place, value)))
    assert '"internal_error"' not in gateway.log()


def test_odd_embeddings(client: httpx.Client, gateway: RunningProxy):
    for place in places(EMBEDDING):
        for value in ODD:
            body = replaced(EMBEDDING, place, value)
            judge(client.post("/v1beta/models/mock:batchEmbedContents", json=body))
            judge(client.post("/v1beta/models/mock:embedContent", json=body))
    assert '"internal_error"' not in gateway.log()


def nested(depth: int, around: str, inside: str) -> bytes:
    start, end = around.split("*")
    return (start * depth + inside + end * depth).encode()


@pytest.mark.parametrize("depth", [50, 300, 900, 5000])
@pytest.mark.parametrize(
    "body",
    [
        '{"contents":[{"parts":[{"functionCall":{"name":"f","args":{"a":*}}}]}]}',
        '{"contents":[{"parts":[{"executableCode":{"a":*}}]}]}',
        '{"contents":[{"parts":[{"text":"Hi"}]}],"tools":[{"functionDeclarations":[{"name":"f","parameters":*}]}]}',
        '{"contents":[{"parts":[{"text":"Hi"}]}],"tools":[{"googleSearch":*}]}',
        '{"contents":[{"parts":[{"text":"Hi"}]}],"generationConfig":{"responseSchema":*}}',
        '{"contents":[{"parts":[{"text":"Hi"}]}],"generationConfig":{"anything":*}}',
        '{"contents":[{"parts":[{"text":"Hi"}]}],"labels":*}',
        '{"contents":*}',
    ],
)
def test_deep_bodies(client: httpx.Client, gateway: RunningProxy, provider: FakeProvider, body: str, depth: int):
    start, end = body.split("*")
    provider.always(Behaviour(raw=(json.dumps({**ANSWERS["gpt"], **ANSWERS["gemini"], "totalTokens": 1}).encode(),)))
    for around in ('{"items":*}', "[*]"):
        deep = start.encode() + nested(depth, around, "{}") + end.encode()
        for model in ("gpt", "gemini", "mock"):
            judge(client.post(f"/v1beta/models/{model}:generateContent", content=deep))
            judge(client.post(f"/v1beta/models/{model}:countTokens", content=deep))
    assert '"internal_error"' not in gateway.log()


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b'"text"', b"{}", b'{"contents": NaN}'])
@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent", "countTokens", "embedContent"])
def test_bodies_that_are_no_request(client: httpx.Client, body: bytes, method: str):
    answer = client.post(f"/v1beta/models/mock:{method}", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "more",
    [
        {"api_base": "http://127.0.0.1:1"},
        {"api_key": "sk-x"},
        {"vertex_project": "p"},
        {"cachedContent": "cachedContents/x"},
        {"cached_content": "cachedContents/x"},
        {"anything": 1},
        {"generationConfig": {"maxOutputTokens": 1, "max_output_tokens": 9999}},
        {"generation_config": {}, "generationConfig": {}},
        {"num_retries": 99},
    ],
)
def test_fields_that_no_client_may_send(client: httpx.Client, provider: FakeProvider, more: dict[str, Any]):
    for model in ("gemini", "gpt"):
        body = {"contents": REQUEST["contents"][:1], **more}
        answer = client.post(f"/v1beta/models/{model}:generateContent", content=json.dumps(body))
        assert answer.status_code == 400, answer.text
    assert not provider.requests


@pytest.mark.parametrize("name", ["", "%2e%2e", "..%2Fx", "a" * 2000, "%00", "%ff", "x?y", "a:b:c"])
def test_odd_model_names(client: httpx.Client, name: str):
    answer = client.post(f"/v1beta/models/{name}:generateContent", json=REQUEST)
    assert answer.status_code in (400, 404, 405)
    assert answer.json()["error"]["status"] in ("NOT_FOUND", "INVALID_ARGUMENT")
