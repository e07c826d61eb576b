"""The canonical gateway on one machine: 127.0.0.1:4000, no key, behind OpenWebUI."""

import httpx
from openai import OpenAI

from tests.fakes.server import FakeProvider
from tests.seeds.commands import Gateway, run

HOST = "http://127.0.0.1:4000"


def test_model_list(keyless: Gateway):
    answer = run("curl http://127.0.0.1:4000/v1/models", keyless, host=HOST)
    assert answer.status == 200
    assert "gpt-4o-mini" in [model["id"] for model in answer.json["data"]]


def test_health(keyless: Gateway):
    answer = run("curl http://127.0.0.1:4000/health", keyless, host=HOST)
    assert answer.status == 200
    assert answer.json["status"] == "healthy"
    assert "gpt-4o-mini" in answer.json["models"]


def test_chat_completion_example(keyless: Gateway, provider: FakeProvider):
    command = """
curl -X POST http://127.0.0.1:4000/v1/chat/completions \\
  -H "Content-Type: application/json" \\
  -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}]}'
"""
    answer = run(command, keyless, host=HOST)
    assert answer.status == 200
    assert answer.content == "hello"
    assert answer.json["model"] == "gpt-4o-mini"
    assert provider.last.model == "gpt-4o-mini"


def test_smoke_check(keyless: Gateway, provider: FakeProvider):
    command = """curl -X POST http://127.0.0.1:4000/v1/chat/completions -H "Content-Type: application/json" \
-d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Say hi"}]}'"""
    assert run(command, keyless, host=HOST).content == "Say hi"


def test_groq(keyless: Gateway, provider: FakeProvider):
    command = """
curl -X POST http://127.0.0.1:4000/v1/chat/completions \\
  -d '{"model":"groq-gpt-oss-20b","messages":[{"role":"user","content":"hello"}]}'
"""
    assert run(command, keyless, host=HOST).content == "hello"
    assert provider.last.path == "/openai/v1/chat/completions"
    assert provider.last.api_key == "gsk-fake"


def test_openwebui_at_the_bare_address(keyless: Gateway, provider: FakeProvider):
    """OpenWebUI appends `/models` and `/chat/completions` to any base URL and sends any configured key."""
    assert httpx.get(f"{keyless.url}/models").json()["object"] == "list"
    client = OpenAI(base_url=keyless.url, api_key="anything", max_retries=0)
    stream = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}], stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "hello"
    assert provider.last.api_key == "sk-proj-fake"
