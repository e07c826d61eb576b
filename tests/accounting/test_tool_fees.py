"""Searches that a provider runs are charged to the key, in every client API, plain and streamed."""

from typing import Any

import orjson
import pytest

from tests.accounting.conftest import Ledgered, Start
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider

SEARCHES = 2
FEE = 0.01
INFO = {
    "input_cost_per_token": 1e-6,
    "output_cost_per_token": 2e-6,
    "max_input_tokens": 1000,
    "search_context_cost_per_query": {"search_context_size_medium": FEE},
}
COST = 100 * 1e-6 + 50 * 2e-6 + SEARCHES * FEE

ITEMS = [
    *({"type": "web_search_call", "id": f"ws_{n}", "status": "completed"} for n in range(SEARCHES)),
    {
        "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "Found.", "annotations": []}],
    },
]  # fmt: skip
RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": ITEMS,
    "usage": {"input_tokens": 100, "output_tokens": 50, "total_tokens": 150},
}  # fmt: skip
CLAUDE_USAGE = {"input_tokens": 100, "output_tokens": 50, "server_tool_use": {"web_search_requests": SEARCHES}}
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
    "stop_sequence": None, "content": [{"type": "text", "text": "Found."}], "usage": CLAUDE_USAGE,
}  # fmt: skip
GROUNDED = {"webSearchQueries": ["a", "b"]}
CANDIDATE = {"content": {"role": "model", "parts": [{"text": "Found."}]}, "finishReason": "STOP"}
GEMINI = {
    "candidates": [{**CANDIDATE, "groundingMetadata": GROUNDED}],
    "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 50, "totalTokenCount": 150},
}


def event(fields: dict[str, Any], name: str = "") -> bytes:
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + orjson.dumps(fields) + b"\n\n"


def claude_events() -> tuple[bytes, ...]:
    start = {**MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": 100, "output_tokens": 1}}
    block = {"index": 0, "content_block": {"type": "text", "text": ""}}
    delta = {"index": 0, "delta": {"type": "text_delta", "text": "Found."}}
    ended = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": CLAUDE_USAGE}
    named: list[tuple[str, dict[str, Any]]] = [
        ("message_start", {"message": start}), ("content_block_start", block), ("content_block_delta", delta),
        ("content_block_stop", {"index": 0}), ("message_delta", ended), ("message_stop", {}),
    ]  # fmt: skip
    return tuple(event({"type": name, **fields}, name) for name, fields in named)


def response_events() -> tuple[bytes, ...]:
    begun = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
    named = (("response.created", begun), ("response.completed", RESPONSE))
    return tuple(
        event({"type": name, "sequence_number": number, "response": response}, name)
        for number, (name, response) in enumerate(named)
    )


def gemini_events() -> tuple[bytes, ...]:
    """The searches are in an earlier event than the usage."""
    begun = {"candidates": [{"content": CANDIDATE["content"], "groundingMetadata": GROUNDED}]}
    return event(begun), event({"candidates": [CANDIDATE], "usageMetadata": GEMINI["usageMetadata"]})


SEARCHING = {"tools": [{"type": "web_search"}], "max_tool_calls": SEARCHES}
CLAUDES = {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": SEARCHES}]}
CHAT = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 60}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 60}}
RESPONSES = {"input": "Hi", "max_output_tokens": 60, "store": False, **SEARCHING}
GROUNDING = {**CONTENTS, "tools": [{"googleSearch": {}}]}


@pytest.fixture
def gateway(start: Start, fake: FakeProvider) -> Ledgered:
    models = {
        "gpt": ("openai/gpt-5", fake.openai_base),
        "claude": ("anthropic/claude-sonnet-4-6", fake.url),
        "gemini": ("gemini/gemini-3-pro-preview", fake.gemini_base),
    }
    return start(
        models=[
            {
                "model_name": name,
                "litellm_params": {"model": model, "api_base": base, "api_key": "sk-provider"},
                "model_info": {**INFO, "web_search_billing_unit": "per_query"},
            }
            for name, (model, base) in models.items()
        ]
    )


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("model", "path", "body", "plain", "events"),
    [
        ("gpt", "/v1/responses", RESPONSES, RESPONSE, response_events()),
        ("claude", "/v1/messages", {**CHAT, **CLAUDES}, MESSAGE, claude_events()),
        ("claude", "/v1/chat/completions", {**CHAT, "web_search_options": {}}, MESSAGE, claude_events()),
        ("gemini", "/v1/chat/completions", {**CHAT, "web_search_options": {}}, GEMINI, gemini_events()),
        ("gemini", "/v1beta/models/gemini:generateContent", GROUNDING, GEMINI, gemini_events()),
    ],
    ids=["responses", "messages", "chat to Claude", "chat to Gemini", "generateContent"],
)
def test_searches_are_charged(
    gateway: Ledgered,
    fake: FakeProvider,
    model: str,
    path: str,
    body: dict[str, Any],
    plain: dict[str, Any],
    events: tuple[bytes, ...],
    stream: bool,
) -> None:
    fake.always(Behaviour(raw=events if stream else (orjson.dumps(plain),)))
    key = gateway.key(max_budget=1)
    if "generateContent" in path:
        path = path.replace("generateContent", "streamGenerateContent?alt=sse") if stream else path
        sent = body
    else:
        sent = {**body, "model": model, "stream": stream}
    answer = gateway.http.post(path, json=sent, headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    assert "Found." in answer.text or model == "gpt"
    assert gateway.info(key)["spend"] == pytest.approx(COST)
    [line] = gateway.logs()
    assert line["reserved"] >= FEE
    assert line["estimated"] is False


def test_a_budget_that_cannot_pay_for_the_searches_refuses(gateway: Ledgered, fake: FakeProvider) -> None:
    key = gateway.key(max_budget=SEARCHES * FEE)
    headers = {"authorization": f"Bearer {key}"}
    answer = gateway.http.post("/v1/responses", json={**RESPONSES, "model": "gpt"}, headers=headers)
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "budget_exceeded"
    assert not fake.requests
