"""What an earlier answer thought reaches the models that want it back."""

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
def test_every_shape_of_a_thought_stands_beside_its_call(fields: dict[str, Any]):
    (made,) = fitted([assistant(**fields)], required=True)
    assert made["reasoning_content"] == "I should call f."
    assert "thinking_blocks" not in made
    assert made["tool_calls"] == CALLS


def test_a_call_whose_thought_is_lost_has_the_least_that_is_taken():
    assert fitted([assistant()], required=True)[0]["reasoning_content"] == " "
    lost = assistant(thinking_blocks=[{"type": "redacted_thinking", "data": "x"}])
    assert fitted([lost], required=True)[0]["reasoning_content"] == " "


def test_nothing_is_made_up_where_nobody_asks():
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, assistant()]
    assert fitted(messages, required=False) is messages
    assert fitted(messages[:2], required=True) == messages[:2]


def test_claude_s_blocks_go_to_no_other_model():
    (made,) = fitted([assistant(thinking_blocks=[SIGNED])], required=False)
    assert made == assistant(reasoning_content="I should call f.")
