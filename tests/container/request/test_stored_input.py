"""References in a request: opened for their owner, not found for everyone else, and translated for the provider."""

from typing import Any

import pytest

from container.request.stored_input import (
    KEPT,
    Seal,
    SealedId,
    StoredInput,
    for_provider,
    group_of,
    opened,
    place_of,
    without_references,
)
from worker.core.api.errors import ApiError
from worker.core.pricing.estimate import refers
from worker.core.shared_settings import seal_secret

SEAL = Seal(seal_secret("salt", None) or "")
HERE, THERE = place_of("here"), place_of("there")
USER: Any = {"role": "user", "content": "Hi"}


def sealed(id: str, place: bytes = HERE, bound: int = 0, group: str = "", owner: str = "me") -> str:
    return SEAL.seal(SealedId(place, id, bound, group_of(group)), owner)


def reference(id: str) -> dict[str, Any]:
    return {"type": "item_reference", "id": id}


def refused(fields: dict[str, Any], owner: str = "me", seal: Seal | None = SEAL) -> ApiError:
    with pytest.raises(ApiError) as caught:
        opened(fields, seal, owner)
    return caught.value


PREVIOUS = sealed("resp_" + "ab" * 24, bound=500)
ITEM = sealed("rs_" + "ab" * 25, bound=70, group="one")


def test_an_own_response_is_found():
    found = opened({"previous_response_id": PREVIOUS, "input": [USER, reference(ITEM)]}, SEAL, "me")
    assert found.places == {HERE}
    assert found.bound == 570
    assert found.previous is not None
    assert found.previous.id == "resp_" + "ab" * 24


STRANGE = [
    "resp_" + "ab" * 24,
    "resp_",
    "",
    "x" * 5000,
    PREVIOUS[:-1],
    PREVIOUS + "A",
    PREVIOUS.upper(),
    "resp_é",
    ITEM,
]


@pytest.mark.parametrize("id", [*STRANGE, 7, [], {}])
def test_any_other_response_does_not_exist(id: Any):
    error = refused({"previous_response_id": id, "input": "Hi"})
    assert (error.status, error.code, error.param) == (400, "previous_response_not_found", "previous_response_id")
    other = refused({"previous_response_id": PREVIOUS}, owner="other")
    assert error.message.replace(str(id)[:300], "") == other.message.replace(PREVIOUS, "")
    assert (error.status, error.code, error.headers) == (other.status, other.code, other.headers)


@pytest.mark.parametrize("id", [*STRANGE[:-1], 7, None])
def test_any_other_item_does_not_exist(id: Any):
    error = refused({"input": [USER, reference(id)]})
    assert (error.status, error.type, error.param, error.code) == (404, "invalid_request_error", "input", None)
    assert refused({"input": [{"id": id}]}).status == 404


@pytest.mark.parametrize("fields", [{"previous_response_id": PREVIOUS}, {"input": [reference(ITEM)]}])
def test_without_a_secret_nothing_exists(fields: dict[str, Any]):
    assert refused(fields, seal=None).status == refused(fields, owner="other").status


def test_the_items_of_one_response_are_bounded_together():
    items = [reference(sealed(f"msg_{n:020x}", bound=100 + n, group="one")) for n in range(5)]
    assert opened({"input": items}, SEAL, "me").bound == 104
    items.append(reference(sealed("msg_x", bound=7, group="two")))
    assert opened({"input": items}, SEAL, "me").bound == 111
    items.append(reference(sealed("msg_y", group="three")))
    assert opened({"input": items}, SEAL, "me").bound is None


def test_a_picture_that_only_its_provider_has_is_its_owners():
    """https://platform.openai.com/docs/guides/image-generation#multi-turn-image-generation"""
    picture = {"type": "image_generation_call", "id": "ig_" + "ab" * 25}
    assert refused({"input": [picture]}).status == 404
    assert refused({"input": [{**picture, "result": None}]}).status == 404
    assert not opened({"input": [{**picture, "result": "iVBORw0KGgo="}]}, SEAL, "me").needed
    mine = {**picture, "id": sealed(picture["id"], bound=70)}
    assert opened({"input": [mine]}, SEAL, "me").places == {HERE}


def test_an_item_is_referred_to_once():
    """As at OpenAI. Its size counts once, and a kept item would be loaded again for each reference."""
    again = sealed("rs_" + "ab" * 25, bound=0, group="another")  # as it was retrieved
    for second in (ITEM, again):
        error = refused({"input": [reference(ITEM), USER, reference(second)]})
        assert (error.status, error.param) == (400, "input")


def test_what_is_in_the_request_needs_nothing_else():
    whole = {"type": "message", "role": "assistant", "id": sealed("msg_1"), "content": []}
    thought = {"type": "reasoning", "id": sealed("rs_1"), "encrypted_content": "gAAA", "summary": []}
    assert opened({"input": [whole, thought]}, SEAL, "me").needed == []
    bare = {"type": "reasoning", "id": sealed("rs_1"), "summary": []}
    search = {"type": "web_search_call", "id": sealed("ws_1"), "status": "completed"}
    approval = {"type": "mcp_approval_response", "approval_request_id": sealed("mcpr_" + "a" * 50), "approve": True}
    assert len(opened({"input": [search, approval]}, SEAL, "me").needed) == 2
    found = opened({"input": [bare]}, SEAL, "me")
    assert (found.needed, len(found.thoughts), found.bound) == ([], 1, None)


def test_the_provider_gets_its_own_ids():
    items = [
        USER,
        reference(sealed("rs_1")),
        {"type": "message", "role": "assistant", "id": sealed("msg_1"), "content": []},
        {"type": "mcp_approval_response", "approval_request_id": sealed("mcpr_" + "a" * 50), "approve": True},
    ]
    fields = {"previous_response_id": sealed("resp_1"), "input": items, "model": "m"}
    found = opened(fields, SEAL, "me")
    sent = for_provider(fields, found, {HERE})
    assert sent["previous_response_id"] == "resp_1"
    assert [item.get("id") for item in sent["input"]] == [None, "rs_1", "msg_1", None]
    assert sent["input"][3]["approval_request_id"] == "mcpr_" + "a" * 50
    assert fields["input"][1]["id"] != "rs_1"


@pytest.mark.parametrize("id", [sealed("fc_1", THERE), sealed("fc_1", KEPT), "fc_123", sealed("fc_1", owner="other")])
def test_an_id_of_another_place_is_not_sent(id: str):
    """OpenAI answers an item whose id it does not know with 404, whether or not it has content."""
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    fields = {"input": [{**call, "id": id}, {"type": "reasoning", "id": "rs_1", "summary": []}]}
    assert for_provider(fields, opened(fields, SEAL, "me"), {HERE})["input"] == [call]


def test_what_is_measured_is_what_the_request_contains():
    fields = {"previous_response_id": PREVIOUS, "input": [USER, reference(ITEM)], "model": "m"}
    assert without_references(fields, StoredInput()) == {"input": [USER], "model": "m"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"previous_response_id": "resp_1"}, True),
        ({"previous_response_id": None, "input": "Hi"}, False),
        ({"input": [USER, {"type": "message", "id": "msg_1", "role": "assistant", "content": []}]}, False),
        ({"input": [{"type": "reasoning", "id": "rs_1", "encrypted_content": "x"}]}, False),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, True),
        ({"input": [{"type": "reasoning", "summary": []}]}, False),
        ({"input": [{"type": "item_reference", "id": "rs_1"}]}, True),
        ({"input": [{"id": "rs_1"}]}, True),
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, True),
        ({"input": ["text", 7, None, {"id": "x", "role": "user", "content": "y"}]}, False),
    ],
)
def test_the_edge_knows_what_it_cannot_measure(body: dict[str, Any], expected: bool):
    assert refers(body) is expected
