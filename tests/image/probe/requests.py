"""Engine requests: one deployment of each provider, and the requests that verify it."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from .others import WORD, private_key

KEY = "sk-engine-probe"
BOUNDARY = "boundary"


def deployments(fake: str, others: str) -> dict[str, dict[str, Any]]:
    """LiteLLM's parameters by model name. `fake` and `others` are the addresses of the two fakes."""
    key = {"api_key": "k"}
    return {
        "anthropic": {"model": "anthropic/claude-3-haiku-20240307", "api_base": fake, **key},
        "gemini": {"model": "gemini/gemini-2.0-flash", "api_base": f"{fake}/v1beta", **key},
        "vertex_ai": {
            "model": "vertex_ai/gemini-2.0-flash",
            "api_base": fake,
            "vertex_project": "p",
            "vertex_location": "us-central1",
            "vertex_credentials": _service_account(f"{fake}/token"),
        },
        "bedrock": {
            "model": "bedrock/anthropic.claude-3-haiku-20240307-v1:0",
            "aws_bedrock_runtime_endpoint": f"{others}/bedrock",
            "aws_access_key_id": "AKIAPROBE",
            "aws_secret_access_key": "secret",
            "aws_region_name": "us-east-1",
        },
        "cohere": {"model": "cohere_chat/command-r-08-2024", "api_base": f"{others}/cohere", **key},
        "replicate": {"model": "replicate/meta/meta-llama-3-8b-instruct", **key},
        "azure": {"model": "azure/gpt-4o", "api_base": fake, "api_version": "2024-10-21", **key},
        "rerank": {"model": "cohere/rerank-v3.5", "api_base": f"{others}/cohere", **key},
        "embedding": {"model": "openai/text-embedding-3-small", "api_base": f"{fake}/v1", **key},
        "openai": {"model": "openai/whisper-1", "api_base": f"{others}/openai", **key},
    }


CHAT_MODELS = ("anthropic", "gemini", "vertex_ai", "bedrock", "cohere", "replicate", "azure")


def answers(engine: str) -> Iterator[tuple[str, str]]:
    """The name of each request, and "ok" or the error, for chat, plain and streamed, and for the engine's other
    endpoints."""
    question = [{"role": "user", "content": "Which fruit?"}]
    for model in CHAT_MODELS:
        body = {"model": model, "messages": question, "max_tokens": 20}
        yield f"{model} plain", _check(engine, "/v1/chat/completions", body, f'"content":"{WORD}"')
        yield f"{model} stream", _check(engine, "/v1/chat/completions", {**body, "stream": True}, None)
    message = {"model": "anthropic", "messages": question, "max_tokens": 20}
    yield "messages", _check(engine, "/v1/messages", message, WORD)
    yield "messages to gemini", _check(engine, "/v1/messages", {**message, "model": "gemini"}, WORD)
    yield "responses", _check(engine, "/v1/responses", {"model": "anthropic", "input": "Which fruit?"}, WORD)
    rerank = {"model": "rerank", "query": "fruit", "documents": ["stone", WORD]}
    yield "rerank", _check(engine, "/v1/rerank", rerank, "relevance_score")
    embedding = {"model": "embedding", "input": "fruit"}
    yield "embeddings", _check(engine, "/v1/embeddings", embedding, '"embedding"')
    image = {"model": "openai", "prompt": "a fruit"}
    yield "images", _check(engine, "/v1/images/generations", image, WORD)
    yield "moderations", _check(engine, "/v1/moderations", {"model": "openai", "input": "fruit"}, "flagged")
    speech = {"model": "openai", "input": "fruit", "voice": "alloy"}
    yield "speech", _check(engine, "/v1/audio/speech", speech, WORD)
    yield "transcription", _check(engine, "/v1/audio/transcriptions", _upload("openai"), WORD)


def _check(engine: str, path: str, body: dict | bytes, expected: str | None) -> str:
    """Checks that `expected` is in the response. With None, the response is a stream whose joined content is WORD."""
    kind = f"multipart/form-data; boundary={BOUNDARY}" if isinstance(body, bytes) else "application/json"
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {KEY}", "content-type": kind}
    try:
        with urllib.request.urlopen(urllib.request.Request(engine + path, data, headers), timeout=60) as response:
            text = response.read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()[:500]}"
    good = _streamed(text) == WORD if expected is None else expected in text.replace('": ', '":')
    return "ok" if good else f"200 {text[:500]}"


def _streamed(text: str) -> str:
    events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
    choices = [choice for event in events for choice in json.loads(event).get("choices", [])]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def _upload(model: str) -> bytes:
    parts = (
        f'Content-Disposition: form-data; name="model"\r\n\r\n{model}',
        'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\nRIFF',
    )
    return "".join(f"--{BOUNDARY}\r\n{part}\r\n" for part in parts).encode() + f"--{BOUNDARY}--\r\n".encode()


def _service_account(token_uri: str) -> str:
    account = {"type": "service_account", "project_id": "p", "private_key_id": "k", "client_email": "probe@p.example"}
    return json.dumps({**account, "private_key": private_key()[1].decode(), "token_uri": token_uri})
