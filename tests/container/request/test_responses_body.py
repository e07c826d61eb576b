"""Responses API requests without storage."""

from typing import Any

import orjson
import pytest

from container.request.engine_body import JsonBody
from container.request.responses import ENCRYPTED_REASONING
from worker.core.api.endpoints import TABLE
from worker.core.api.errors import ApiError

USER = {"role": "user", "content": "Hi"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"}
KEPT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
NAMED_ONLY = {"type": "reasoning", "id": "rs_2", "summary": []}


def sent(*, reasons: bool = True, **fields: Any) -> dict[str, Any]:
    body = JsonBody(TABLE["/responses"], orjson.dumps({"model": "m", "input": [USER], **fields}))
    return orjson.loads(body.for_model("dep", reasons=reasons))


@pytest.mark.parametrize(
    "item", [{"type": "item_reference", "id": "rs_1"}, {"id": "msg_1"}, {"type": None, "id": "fc_1"}], ids=str
)
def test_reference_to_a_stored_item_is_rejected(item):
    with pytest.raises(ApiError) as caught:
        sent(input=[USER, item])
    assert (caught.value.status, caught.value.param) == (400, "input")
    assert "input[1]" in caught.value.message


@pytest.mark.parametrize("item", [CALL, {"id": "msg_1", **USER}, {"id": "msg_1", "type": "message", **USER}], ids=str)
def test_item_with_content_may_have_an_id(item):
    assert sent(input=[item])["input"] == [item]


def test_reasoning_is_requested_because_nothing_is_stored():
    assert sent()["include"] == [ENCRYPTED_REASONING]
    assert sent(store=True)["include"] == [ENCRYPTED_REASONING]
    assert sent(store=None)["store"] is False


def test_clients_include_is_kept():
    assert sent(include=["x"])["include"] == ["x", ENCRYPTED_REASONING]
    assert sent(include=[ENCRYPTED_REASONING])["include"] == [ENCRYPTED_REASONING]


@pytest.mark.parametrize("fields", [{"reasons": False}, {"store": False}], ids=str)
def test_reasoning_is_not_requested_for_a_non_reasoning_model_or_a_stateless_client(fields):
    made = sent(**fields)
    assert made["store"] is False
    assert "include" not in made


def test_reasoning_without_content_is_a_reference_to_a_stored_item():
    made = sent(input=[USER, KEPT, CALL, NAMED_ONLY, CALL])
    assert made["input"] == [USER, KEPT, CALL, CALL]


def test_reasoning_of_another_model_is_left_to_the_engine():
    assert sent(input=[USER, NAMED_ONLY], reasons=False)["input"] == [USER, NAMED_ONLY]


@pytest.mark.parametrize("given", ["Hi", [], None])
def test_input_without_items_is_forwarded(given):
    assert sent(input=given)["input"] == given
