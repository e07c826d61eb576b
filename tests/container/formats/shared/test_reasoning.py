"""Reasoning of earlier responses is returned to models that require it."""

from typing import Any

import pytest

from container.formats.shared.reasoning import fitted

CALLS = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
SIGNED = {"type": "thinking", "thinking": "I should call f.", "signature": "abc"}


def assistant(**fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": CALLS, **fields}


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "I should call f."},
        {"reasoning": "I should call f."},
        {"thinking_blocks": [SIGNED]},
        {"thinking_blocks": [{**SIGNED, "signature": ""}, {"type": "redacted_thinking", "data": "x"}]},
        {"reasoning_content": "", "thinking_blocks": [SIGNED]},
        {"provider_specific_fields": {"reasoning_content": "I should call f."}},
    ],
)
def test_every_shape_of_reasoning_is_sent_with_its_call(fields: dict[str, Any]):
    (made,) = fitted([assistant(**fields)], required=True)
    assert made["reasoning_content"] == "I should call f."
    assert "thinking_blocks" not in made
    assert made["tool_calls"] == CALLS


def test_call_with_lost_reasoning_gets_a_minimal_placeholder():
    assert fitted([assistant()], required=True)[0]["reasoning_content"] == " "
    lost = assistant(thinking_blocks=[{"type": "redacted_thinking", "data": "x"}])
    assert fitted([lost], required=True)[0]["reasoning_content"] == " "


def test_no_placeholder_is_added_where_not_required():
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, assistant()]
    assert fitted(messages, required=False) is messages
    assert fitted(messages[:2], required=True) == messages[:2]


def test_claudes_blocks_are_not_sent_to_other_models():
    (made,) = fitted([assistant(thinking_blocks=[SIGNED])], required=False)
    assert made == assistant(reasoning_content="I should call f.")
