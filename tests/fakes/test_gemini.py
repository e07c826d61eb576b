"""Gemini's wire format, as served by the fake provider."""

import json

import httpx
import pytest

from tests.fakes.answers import count_tokens
from tests.fakes.server import FakeProvider

DECLARATION = {"name": "weather", "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}}


@pytest.fixture
def client(fake: FakeProvider):
    with httpx.Client(base_url=fake.gemini_base, headers={"x-goog-api-key": "gm-fake"}) as client:
        yield client


def asking(text: str, **more) -> dict:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}


def test_generate(client: httpx.Client, fake: FakeProvider):
    system = {"systemInstruction": {"parts": [{"text": "Be brief."}]}}
    answer = client.post("/models/gemini-2.5-pro:generateContent", json=asking("Hällo", **system)).json()
    assert answer["candidates"][0]["content"]["parts"] == [{"text": "Hällo"}]
    assert answer["candidates"][0]["finishReason"] == "STOP"
    assert answer["usageMetadata"] == {
        "promptTokenCount": count_tokens("Be brief.") + count_tokens("Hällo") + 2 * 4,
        "candidatesTokenCount": 2,
        "totalTokenCount": 3 + 2 + 8 + 2,
    }
    assert (fake.last.model, fake.last.api_key) == ("gemini-2.5-pro", "gm-fake")


def test_stream(client: httpx.Client):
    answer = client.post("/models/gemini-2.5-pro:streamGenerateContent?alt=sse", json=asking("Hello there"))
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    assert len(events) == 5
    assert "".join(e["candidates"][0]["content"]["parts"][0]["text"] for e in events) == "Hello there"
    assert [e["candidates"][0].get("finishReason") for e in events] == [None] * 4 + ["STOP"]
    assert events[-1]["usageMetadata"]["candidatesTokenCount"] == 3


@pytest.mark.parametrize("names", [("tools", "functionDeclarations"), ("tools", "function_declarations")])
def test_function_call(client: httpx.Client, names):
    body = asking("call it", **{names[0]: [{names[1]: [DECLARATION]}]})
    answer = client.post("/models/m:generateContent", json=body).json()
    (part,) = answer["candidates"][0]["content"]["parts"]
    assert part == {"functionCall": {"name": "weather", "args": {"city": "call it"}}}


def test_forced_function_call(client: httpx.Client):
    forced = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}}
    body = asking("Paris", tools=[{"functionDeclarations": [DECLARATION]}], toolConfig=forced)
    answer = client.post("/models/m:generateContent", json=body).json()
    assert "functionCall" in answer["candidates"][0]["content"]["parts"][0]


def test_limit(client: httpx.Client):
    answer = client.post(
        "/models/m:generateContent", json=asking("Hello there", generationConfig={"maxOutputTokens": 1})
    )
    assert answer.json()["candidates"][0]["finishReason"] == "MAX_TOKENS"


def test_errors(client: httpx.Client, fake: FakeProvider):
    fake.queue("429")
    answer = client.post("/models/m:generateContent", json=asking("x"))
    assert (answer.status_code, answer.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert httpx.post(f"{fake.gemini_base}/models/m:generateContent", json=asking("x")).status_code == 403
    assert client.post("/models/m:generateContent", json={}).status_code == 400


def test_key_in_the_query(fake: FakeProvider):
    answer = httpx.post(f"{fake.gemini_base}/models/m:countTokens?key=gm-query", json=asking("12345678"))
    assert answer.json() == {"totalTokens": 6}
    assert fake.last.api_key == "gm-query"


def test_vertex_path(fake: FakeProvider):
    url = f"{fake.url}/v1/projects/p/locations/global/publishers/google/models/gemini-3.1-pro-preview:generateContent"
    answer = httpx.post(url, json=asking("Hi"), headers={"authorization": "Bearer ya29.fake"})
    assert answer.status_code == 200
    assert fake.last.model == "gemini-3.1-pro-preview"


def test_token_for_a_service_account(fake: FakeProvider):
    fake.always("500")  # behaviors apply to models only
    answer = httpx.post(f"{fake.url}/token", data={"grant_type": "jwt-bearer", "assertion": "signed"})
    assert answer.json()["access_token"]
    assert httpx.post(f"{fake.url}/token", data={}).status_code == 400
