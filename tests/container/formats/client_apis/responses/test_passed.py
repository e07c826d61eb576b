"""Requests, streams and responses of providers that have the Responses API."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container.formats.client_apis.responses.answer import blank_response
from container.formats.client_apis.responses.passed import Fitted, PassedEvents, events_of, fitted, passed_response
from container.formats.shared.tool_identifiers import names_given_back
from container.formats.shared.wire import Plain
from container.routing.health import Outcome
from tests import response_events
from tests.thorough import examples

NAME = 'gpt "our" \\ möglich/x'
SENT, OWN = "mcp__long_0a1b2c3d", "mcp__a_server/with a long name"
TRICKY = 'say "response": {"model": "y"} \\"error\\" [DONE]\n\ndata: [DONE]\n\nevent: error'
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 14,
}


def text(said: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": said, "annotations": [], "logprobs": []}
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


HM = {"type": "summary_text", "text": "hm"}
RESPONSE: dict[str, Any] = {
    **blank_response("gpt-5", 1),
    "id": "resp_theirs",
    "status": "completed",
    "output": [
        {"id": "rs_1", "type": "reasoning", "summary": [HM], "encrypted_content": "g"},
        text(TRICKY),
        {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "c", "name": SENT, "arguments": "{}"},
        {"id": "ctc_1", "type": "custom_tool_call", "status": "completed", "call_id": "d", "name": "p", "input": "x"},
    ],
    "usage": USAGE,
}
STREAM = events_of(RESPONSE)


def passed(
    data: bytes, cuts: list[int] | None = None, names: dict[str, str] | None = None
) -> tuple[bytes, PassedEvents]:
    events, made, cuts = PassedEvents(NAME, names), b"", sorted(cuts or [])
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        made += events.feed(data[start:end])
    return made + events.end(), events


def test_stream_is_passed_with_our_model_name():
    made, events = passed(STREAM)
    assert made == STREAM.replace(b'"model":"gpt-5"', b'"model":' + orjson.dumps(NAME))
    assert response_events.ended(made)["output"] == RESPONSE["output"]
    assert events.begins(b"") is True
    assert not events.cut_off
    assert events.usage is not None
    assert events.usage["prompt_tokens_details"]["cached_tokens"] == 3


@settings(max_examples=examples(200, 50), deadline=None)
@given(data=st.data(), crlf=st.booleans())
def test_cuts_change_nothing(data: st.DataObject, crlf: bool):
    stream = STREAM.replace(b"\n", b"\r\n") if crlf else STREAM
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    assert passed(stream, cuts, {SENT: OWN})[0] == passed(stream, names={SENT: OWN})[0]


def test_clients_tool_names_are_given_back():
    made, _ = passed(STREAM, names={SENT: OWN})
    assert SENT.encode() not in made
    assert response_events.ended(made)["output"][2]["name"] == OWN


def test_deltas_are_not_touched():
    delta = b'event: x.delta\ndata: {"type":"x.delta",  "delta":"\xc3\xa9"}\n\n'
    events = PassedEvents(NAME)
    events.feed(STREAM[: STREAM.index(b"event: response.completed")])
    assert events.feed(delta) == delta


@pytest.mark.parametrize(
    ("last", "status"),
    [({"code": "rate_limit_exceeded", "message": "slow"}, 429), ({"code": "server_error", "message": "boom"}, 500)],
)
@pytest.mark.parametrize("kind", ["response.failed", "error"])
def test_failure_before_the_response_begins_lets_another_deployment_take_over(kind, last, status):
    head = STREAM[: STREAM.index(b"event: response.output_item.added")]
    fields = {"response": {**RESPONSE, "status": "failed", "error": last}} if kind == "response.failed" else last
    _, events = passed(head + b"data: " + orjson.dumps({"type": kind, **fields}) + b"\n\n")
    began = events.begins(b"")
    assert isinstance(began, Outcome)
    assert (began.status, began.message) == (status, last["message"])


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.failed", "response": {**RESPONSE, "error": {"code": "server_error", "message": "boom"}}},
        {"type": "error", "code": "server_error", "message": "boom", "param": None},
        {"type": "error", "error": {"type": "server_error", "message": "boom"}},
        {"error": {"message": "boom"}},
    ],
)
def test_failure_in_the_middle_ends_the_stream(event: dict[str, Any]):
    head = STREAM[: STREAM.index(b"event: response.output_text.done")]
    made, events = passed(head + b"data: " + orjson.dumps(event) + b"\n\n" + b"data: [DONE]\n\n")
    last = response_events.ended(made)
    assert last["status"] == "failed"
    assert last["error"]["message"] == "boom"
    assert events.failed is not None


def test_stream_that_breaks_off_is_cut_off():
    head = STREAM[: STREAM.index(b"event: response.completed")]
    made, events = passed(head)
    assert events.cut_off
    last = response_events.ended(made + events.broken(Outcome("server", 0, "gone")))
    assert (last["status"], last["error"]["code"]) == ("failed", "server_error")


def test_response_that_is_not_streamed_becomes_a_stream():
    made, events = passed(b"data: " + orjson.dumps(RESPONSE) + b"\n\n")
    assert response_events.ended(made) == {**RESPONSE, "model": NAME}
    assert not events.cut_off


def test_comments_and_done_do_no_harm():
    made, _ = passed(b": hello\n\n" + STREAM + b"data: [DONE]\n\n")
    response_events.ended(made)


def test_plain_response_gets_our_model_name():
    found = passed_response(orjson.dumps(RESPONSE), NAME)
    assert isinstance(found, Plain)
    assert orjson.loads(found.body) == {**RESPONSE, "model": NAME}
    assert found.usage is not None
    assert found.usage["completion_tokens_details"]["reasoning_tokens"] == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {**RESPONSE, "output": None},
        {**RESPONSE, "status": "failed", "error": {"code": "server_error", "message": "boom"}},
        {**RESPONSE, "status": "cancelled"},
        {"error": {"message": "boom"}},
    ],
)
def test_response_without_output_is_a_failure(body: dict[str, Any]):
    assert isinstance(passed_response(orjson.dumps(body), NAME), Outcome)


# Input items get ids and names that the provider accepts.

SIGNED = f"call_1f__thought__{'A+/' * 100}=="
LONG = "mcp__a_server_with_a_rather_long_name__a_tool_whose_name_is_long_as_well_and_longer"
FIELDS: dict[str, Any] = {
    "input": [
        {"role": "user", "content": "Hi"},
        {"type": "function_call", "call_id": SIGNED, "name": LONG, "arguments": "{}"},
        {"type": "function_call_output", "call_id": SIGNED, "output": "done"},
    ],
    "tools": [{"type": "function", "name": LONG, "parameters": {}}, {"type": "web_search"}],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": LONG}]},
}


@pytest.fixture
def openai(deployment):
    return deployment(model="openai/gpt-4o", api_key="k")


def test_ids_and_names_are_adapted_and_names_are_restored(openai):
    made, names, _ = fitted(openai, "gpt-4o", FIELDS)
    call, result = made["input"][1:]
    assert call["call_id"] == result["call_id"] == "call_1f"
    assert len(call["name"]) <= 64
    assert call["name"] == made["tools"][0]["name"] == made["tool_choice"]["tools"][0]["name"]
    assert made["tools"][1] == FIELDS["tools"][1]
    assert names == {call["name"]: LONG}
    assert FIELDS["input"][1]["name"] == LONG
    answer = orjson.dumps({"output": [{"type": "function_call", "name": call["name"], "arguments": "{}"}]})
    assert LONG.encode() in names_given_back(answer, names)


def test_valid_items_are_unchanged(openai):
    usual = {"input": [{"type": "function_call", "call_id": "c" * 64, "name": "f", "arguments": ""}]}
    assert fitted(openai, "gpt-4o", usual) == Fitted()
    assert fitted(openai, "gpt-4o", {"input": "Hi"}) == Fitted()


LABELS = {
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "safety_identifier": "s",
    "top_logprobs": 0,
}


@pytest.mark.parametrize("model", ["hosted_vllm/x", "fireworks_ai/llama-3.3-70b"])
def test_openai_labels_are_not_sent_where_rejected(deployment, model):
    d = deployment(model=model, api_key="k", api_base="http://127.0.0.1:1/v1")
    assert fitted(d, d.model, {"input": "Hi", "user": "ada", **LABELS}).dropped == LABELS.keys()
    assert fitted(d, d.model, {"input": "Hi", "top_logprobs": 3}).dropped == set()


def test_openai_gets_its_labels(openai):
    assert fitted(openai, "gpt-4o", {"input": "Hi", **LABELS}) == Fitted()


REASONING = [
    {"type": "reasoning", "id": "rs_1", "summary": []},
    {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAA"},
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": None},
]


@pytest.mark.parametrize("item", REASONING)
def test_non_reasoning_model_gets_no_reasoning_of_another(openai, deployment, item):
    said = [{"role": "user", "content": "Hi"}, item, {"role": "assistant", "content": "Hello"}]
    assert fitted(openai, "gpt-4o", {"input": said}).fields == {"input": [said[0], said[2]]}
    thinks = deployment(model="openai/gpt-5.4", api_key="k")
    assert fitted(thinks, "gpt-5.4", {"input": said}) == Fitted()
