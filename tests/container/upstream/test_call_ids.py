"""Outgoing tool call IDs are valid for the provider, in calls and in results."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.formats.shared.tool_identifiers import SIGNATURE_MARK, fitted_block_ids, fitted_ids, fitted_item_ids

SIGNED = f"call_1f{SIGNATURE_MARK}CiQB+/abc/def+ghi{'A' * 300}=="
OPENAI = (40, "[a-zA-Z0-9_-]+")
MISTRAL = (9, "[a-zA-Z0-9]{9}")
CLAUDE = (None, "[a-zA-Z0-9_-]+")
ANY = (None, "")


def call(id: Any, name: str = "f") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}}


def turn(*ids: Any, results: list[Any] | None = None) -> list[dict[str, Any]]:
    named = list(ids) if results is None else results
    return [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call(id) for id in ids]},
        *({"role": "tool", "tool_call_id": id, "content": str(n)} for n, id in enumerate(named)),
    ]


def ids_of(messages: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    calls = [c["id"] for m in messages for c in m.get("tool_calls") or ()]
    return calls, [m["tool_call_id"] for m in messages if m["role"] == "tool"]


def test_valid_id_is_unchanged():
    messages = turn("call_abc", "call_def")
    assert fitted_ids(messages, *OPENAI) is messages
    assert fitted_ids(turn("call_abc")[:1], *MISTRAL) == turn("call_abc")[:1]


@pytest.mark.parametrize("rules", [OPENAI, MISTRAL, CLAUDE, ANY])
def test_signature_is_sent_only_to_gemini(rules: tuple[int | None, str]):
    calls, results = ids_of(fitted_ids(turn(SIGNED), *rules))
    assert calls == results
    assert SIGNATURE_MARK not in calls[0]
    assert calls == (["call_1f"] if rules is not MISTRAL else calls)
    length, pattern = rules
    assert length is None or len(calls[0]) <= length
    assert not pattern or re.fullmatch(pattern, calls[0])
    messages = turn(SIGNED)
    assert fitted_ids(messages, *ANY, signed=True) is messages


def test_ids_that_differ_only_in_removed_characters_stay_different():
    calls, results = ids_of(fitted_ids(turn(f"x{SIGNATURE_MARK}a", f"x{SIGNATURE_MARK}b", "x+", "x/"), *CLAUDE))
    assert calls == results
    assert len(set(calls)) == 4


def test_ids_of_earlier_turns_are_stable_as_a_conversation_grows():
    first = turn(SIGNED)
    grown = [*first, *turn("another" * 20, SIGNED)]
    assert ids_of(fitted_ids(grown, *MISTRAL))[0][:1] == ids_of(fitted_ids(first, *MISTRAL))[0]
    assert len(set(ids_of(fitted_ids(grown, *MISTRAL))[0])) == 3


def test_id_of_an_earlier_turn_is_not_reused():
    calls, results = ids_of(fitted_ids([*turn("call_0"), *turn("call_0")], *CLAUDE))
    assert calls[0] == "call_0" != calls[1]
    assert calls == results


def test_two_calls_with_one_id_in_one_message():
    calls, results = ids_of(fitted_ids(turn("a", "a"), *OPENAI))
    assert calls == results
    assert len(set(calls)) == 2
    # With only one result they are the same call, written twice.
    calls, results = ids_of(fitted_ids(turn("a", "a", results=["a"]), *OPENAI))
    assert set(calls) == set(results) == {"a"}


@pytest.mark.parametrize("missing", [None, ""])
def test_missing_ids_are_generated_for_calls_and_results(missing: Any):
    calls, results = ids_of(fitted_ids(turn(missing, missing), *OPENAI))
    assert calls == results
    assert all(calls)
    assert len(set(calls)) == 2


def test_results_in_another_order():
    long = ["a" * 50, "b" * 50]
    calls, results = ids_of(fitted_ids(turn(*long, results=long[::-1]), *OPENAI))
    assert results == calls[::-1]


def test_invalid_conversation_passes():
    for messages in ([None], [{"role": "assistant", "tool_calls": "x"}], [{"role": "assistant", "tool_calls": [1]}]):
        assert fitted_ids(messages, *OPENAI) is messages
    assert fitted_ids([{"role": "tool", "content": "x"}], *OPENAI) == [{"role": "tool", "content": "x"}]


ANYTHING = st.one_of(st.none(), st.text(max_size=60), st.sampled_from([SIGNED, "call_0", "a" * 41]))


@given(st.lists(st.lists(ANYTHING, min_size=1, max_size=3), max_size=4), st.sampled_from([OPENAI, MISTRAL, CLAUDE]))
def test_any_conversation_has_valid_ids_and_results_after_their_calls(turns, rules):
    length, pattern = rules
    messages = [message for ids in turns for message in turn(*ids)]
    made = fitted_ids(messages, length, pattern)
    calls, results = ids_of(made)
    assert results == calls
    assert len(set(calls)) == len(calls)
    for id in calls:
        assert re.fullmatch(pattern, id)
        assert length is None or len(id) <= length
    assert fitted_ids(messages, length, pattern) == made, "the same every time"


def test_blocks_of_the_messages_api():
    messages = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": SIGNED, "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": SIGNED, "content": "1"}]},
        {"role": "user", "content": "and"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1f", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1f", "content": "2"}]},
    ]
    made = fitted_block_ids(messages, *CLAUDE)
    ids = [made[at]["content"][0]["id" if at in (0, 3) else "tool_use_id"] for at in (0, 1, 3, 4)]
    assert ids[0] == ids[1] == "call_1f"
    assert ids[2] == ids[3] != "call_1f"
    assert all(re.fullmatch("[a-zA-Z0-9_-]+", id) for id in ids)
    assert messages[0]["content"][0]["id"] == SIGNED, "what the client sent is not touched"
    harmless = [{"role": "user", "content": "Hi"}, messages[3], messages[4]]
    assert fitted_block_ids(harmless, *CLAUDE) is harmless


def test_items_of_the_responses_api():
    items = [
        {"type": "function_call", "call_id": SIGNED, "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": SIGNED, "output": "1"},
        {"role": "user", "content": "Hi"},
    ]
    made = fitted_item_ids(items, 64, "[a-zA-Z0-9_-]+")
    assert made[0]["call_id"] == made[1]["call_id"] == "call_1f"
    assert fitted_item_ids(items[2:], 64, "") == items[2:]
