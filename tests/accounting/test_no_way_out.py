"""Clients that try to pay less for an admitted request than the provider charges."""

import json
from typing import Any

import pytest

from tests.accounting.conftest import Ledgered, Start
from tests.fakes.behaviour import OK, Behaviour, Fault
from tests.fakes.server import FakeProvider
from tests.money import IN, OUT, deployment


def test_after_a_client_timeout_no_other_deployment_is_tried(start: Start, fake: FakeProvider) -> None:
    """Every deployment would work on it, and one reservation would pay."""
    group = [deployment(fake, "gpt", f"gpt-{i}") for i in range(3)]
    gateway = start(models=[*group, deployment(fake, "other")], more={"num_retries": 3})
    fake.always(Behaviour(delay=1))
    late = gateway.ask(gateway.key(max_budget=1), max_tokens=100, timeout=0.2, fallbacks=["other"])
    assert (late.status_code, late.json()["error"]["type"]) == (504, "timeout_error")
    assert len(fake.requests) == 1
    [line] = gateway.logs()
    assert line["spend"] == line["reserved"] >= 100 * OUT


def test_a_408_from_the_provider_is_not_a_client_timeout(start: Start, fake: FakeProvider) -> None:
    gateway = start(models=[deployment(fake, "gpt", f"gpt-{i}") for i in range(2)], more={"num_retries": 1})
    fake.queue(Behaviour(status=504), OK)
    assert gateway.ask(gateway.key(max_budget=1), timeout=5).status_code == 200
    assert len(fake.requests) == 2


def left(gateway: Ledgered, key: str, path: str = "/v1/chat/completions", **body: Any) -> dict[str, Any]:
    """The ledger's entry for a stream that its client closes at the first event."""
    headers = {"authorization": f"Bearer {key}"}
    with gateway.http.stream("POST", path, json={**body, "stream": True}, headers=headers) as answer:
        next(part for part in answer.iter_raw() if b"data:" in part)
    gateway.settled()
    line = gateway.logs(key)[0]
    assert line["estimated"] is True
    return line


PICTURE = {"type": "image_url", "image_url": {"url": "https://a.example/c.png"}}
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"ok"},"finish_reason":null}]}\n\n'
LEISURELY = Behaviour(raw=(ROLE, WORD), pace=1.0)


def user(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


def test_a_client_that_disconnects_pays_for_images(start: Start, fake: FakeProvider) -> None:
    gateway = start(models=[deployment(fake, "gpt", max_input_tokens=1_000_000)])
    fake.always(LEISURELY)
    line = left(gateway, gateway.key(max_budget=100), model="gpt", max_tokens=1000, messages=user([PICTURE] * 50))
    assert line["prompt_tokens"] > 50 * 8192
    assert line["reserved"] - 1000 * OUT <= line["spend"] <= line["reserved"]


def test_a_client_that_disconnects_pays_for_output_that_cannot_be_measured(start: Start, fake: FakeProvider) -> None:
    gateway = start(models=[deployment(fake, "gpt", max_input_tokens=500_000, input_cost_per_audio_token=3 * IN)])
    fake.always(LEISURELY)
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    line = left(gateway, gateway.key(max_budget=100), model="gpt", max_tokens=1000, messages=user([sound]))
    assert line["prompt_tokens"] == 500_000
    assert line["spend"] >= 500_000 * 3 * IN


def claude(fake: FakeProvider, name: str = "claude", model: str = "claude-sonnet-4-6", **info: Any) -> dict[str, Any]:
    return {
        "model_name": name,
        "litellm_params": {"model": f"anthropic/{model}", "api_base": fake.url, "api_key": "k"},
        "model_info": {"input_cost_per_token": IN, "output_cost_per_token": OUT, **info},
    }


def anthropic_events(*events: dict[str, Any]) -> tuple[bytes, ...]:
    return tuple(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_usage_at_the_start_of_a_message_is_accepted(start: Start, fake: FakeProvider, path: str) -> None:
    gateway = start(models=[claude(fake, cache_creation_input_token_cost=1.25 * IN)])
    used = {"input_tokens": 10, "cache_creation_input_tokens": 90_000, "output_tokens": 1}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": used}
    text = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "one two three"}}
    events = anthropic_events({"type": "message_start", "message": message}, text, delta, delta)
    fake.always(Behaviour(raw=events, pace=0.5))
    part = {"type": "text", "text": "word " * 90_000, "cache_control": {"type": "ephemeral"}}
    line = left(gateway, gateway.key(max_budget=100), path, model="claude", max_tokens=1000, messages=user([part]))
    assert line["prompt_tokens"] == 90_010
    assert line["completion_tokens"] < 30
    assert line["spend"] == pytest.approx(10 * IN + 90_000 * 1.25 * IN + line["completion_tokens"] * OUT)


THINKING = [
    ("gpt", {"reasoning_effort": "high"}),
    ("gpt", {"reasoning": {"effort": "low"}}),
    ("gpt-5-mini", {}),
    ("o3", {}),
]


@pytest.mark.parametrize(("model", "fields"), THINKING, ids=str)
def test_a_client_that_disconnects_pays_for_hidden_reasoning(
    start: Start, fake: FakeProvider, model: str, fields: dict[str, Any]
) -> None:
    gateway = start(models=[deployment(fake, "gpt", model, max_output_tokens=60_000)])
    fake.always(LEISURELY)
    key = gateway.key(max_budget=100)
    line = left(gateway, key, model="gpt", max_completion_tokens=50_000, messages=user("Hi"), **fields)
    assert line["completion_tokens"] == 50_000
    assert 50_000 * OUT <= line["spend"] <= line["reserved"]


def test_a_client_that_stops_a_plain_chat_pays_for_what_was_generated(start: Start, fake: FakeProvider) -> None:
    gateway = start()
    fake.always(LEISURELY)
    key = gateway.key(max_budget=100)
    line = left(gateway, key, model="gpt", max_tokens=50_000, messages=user("Hi"), reasoning_effort="none")
    assert line["completion_tokens"] < 5
    assert line["spend"] < 100 * OUT


def test_a_reasoning_model_that_reports_usage_costs_that_usage(start: Start, fake: FakeProvider) -> None:
    gateway = start(models=[deployment(fake, "gpt", "gpt-5")])
    fake.always(Behaviour(usage=(10, 20)))
    assert gateway.ask(gateway.key(max_budget=1), stream=True).status_code == 200
    assert gateway.logs()[0]["spend"] == pytest.approx(10 * IN + 20 * OUT)


def test_embeddings_are_not_streamed(start: Start, fake: FakeProvider) -> None:
    gateway = start(models=[deployment(fake, "embed", output_cost_per_token=0)])
    answer = gateway.ask(gateway.key(max_budget=1), "/v1/embeddings", model="embed", input="a b c", stream=True)
    assert (answer.status_code, answer.json()["object"]) == (200, "list")
    assert "stream" not in fake.last.body
    assert gateway.logs()[0]["spend"] > 0


DEEP = ("[" * 2000 + "]" * 2000).encode()
UNREADABLE = [
    b'{"choices":[{"message":{"content":"hi","x":' + DEEP + b'}}],"usage":{"prompt_tokens":9,"completion_tokens":900}}',
    b'{"choices": [',
    b'{"usage": {"prompt_tokens": 9, "completion_tokens": 900}}',
]


@pytest.mark.parametrize("raw", UNREADABLE, ids=["deep", "cut", "empty"])
def test_an_unreadable_answer_is_charged_and_not_retried(start: Start, fake: FakeProvider, raw: bytes) -> None:
    gateway = start(more={"num_retries": 3})
    fake.always(Behaviour(raw=(raw,)))
    assert gateway.ask(gateway.key(max_budget=1), max_tokens=1000).status_code == 502
    assert len(fake.requests) == 1
    [line] = gateway.logs()
    assert (line["spend"], line["estimated"]) == (line["reserved"], True)
    assert line["spend"] >= 1000 * OUT


def test_an_html_page_instead_of_an_answer_costs_nothing(start: Start, fake: FakeProvider) -> None:
    gateway = start(models=[claude(fake)], more={"num_retries": 3})
    fake.always(Behaviour(fault=Fault.HTML_PAGE))
    assert gateway.ask(gateway.key(max_budget=1), model="claude", max_tokens=1000, stream=True).status_code == 502
    assert gateway.logs()[0]["spend"] == 0, "a page is nobody's work"


def test_after_a_fallback_answers_only_the_fallback_is_charged(start: Start, fake: FakeProvider) -> None:
    gateway = start(models=[deployment(fake, "gpt", f"gpt-{i}") for i in range(2)], more={"num_retries": 1})
    fake.queue(Behaviour(raw=(b"{",)), Behaviour(usage=(10, 20)))
    assert gateway.ask(gateway.key(max_budget=1)).status_code == 200
    assert gateway.logs()[0]["spend"] == pytest.approx(10 * IN + 20 * OUT)


@pytest.mark.parametrize("raw", [b'{"error": {"message": "busy"}}', b'{"error": "busy"}'])
def test_an_error_in_a_200_response_costs_nothing(start: Start, fake: FakeProvider, raw: bytes) -> None:
    gateway = start()
    fake.always(Behaviour(raw=(raw,)))
    assert gateway.ask(gateway.key(max_budget=1)).status_code in (500, 502)
    assert gateway.logs()[0]["spend"] == 0


def test_a_stream_that_begins_with_an_error_costs_nothing(start: Start, fake: FakeProvider) -> None:
    gateway = start()
    fake.always(Behaviour(fault=Fault.ERROR_FIRST_EVENT))
    gateway.ask(gateway.key(max_budget=1), stream=True)
    assert gateway.logs()[0]["spend"] == 0


def test_a_connection_lost_before_the_status_costs_nothing(start: Start, fake: FakeProvider) -> None:
    gateway = start()
    fake.always(Behaviour(fault=Fault.RESET_BEFORE_HEADERS))
    gateway.ask(gateway.key(max_budget=1))
    assert gateway.logs()[0]["spend"] == 0
