"""Outgoing ids of tool calls and names of tools are valid for the provider, and clients get their own names back."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.formats.shared.tool_identifiers import (
    GOOGLES,
    SIGNATURE_MARK,
    USUAL,
    RestoredEvents,
    fitted_block_ids,
    fitted_ids,
    fitted_item_ids,
    fitted_names,
    fitting_name,
    names_given_back,
)

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


# Tool names.

LONG = "mcp__a_server_with_a_rather_long_name__a_tool_whose_name_is_long_as_well_and_longer"
DOTTED = "files.read/all"


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def test_valid_names_leave_the_request_unchanged():
    fields = {"tools": [tool("read"), tool("write")], "tool_choice": tool("read"), "messages": [{"role": "user"}]}
    assert fitted_names(fields, 64) == (fields, {})
    assert fitted_names(fields, 64)[0] is fields
    assert fitted_names({"tools": [tool(LONG)]}, None)[0]["tools"][0]["function"]["name"] == LONG


def test_tools_choices_and_history_are_renamed_alike():
    call = {"id": "1", "type": "function", "function": {"name": LONG, "arguments": "{}"}}
    fields = {
        "tools": [tool(LONG), tool("short"), tool(DOTTED)],
        "functions": [{"name": LONG}],
        "function_call": {"name": LONG},
        "tool_choice": {"type": "function", "function": {"name": LONG}},
        "messages": [
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "name": LONG, "content": LONG},
            {"role": "assistant", "function_call": {"name": LONG, "arguments": ""}},
            {"role": "function", "name": LONG, "content": ""},
            {"role": "user", "name": "Ada", "content": LONG},
        ],
    }
    made, names = fitted_names(fields, 64)
    short = made["tools"][0]["function"]["name"]
    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", short)
    assert made["tools"][1] == tool("short")
    assert made["functions"][0]["name"] == short
    assert made["function_call"]["name"] == short
    assert made["tool_choice"]["function"]["name"] == short
    messages = made["messages"]
    assert messages[0]["tool_calls"][0]["function"]["name"] == short
    assert (messages[1]["name"], messages[1]["content"]) == (short, LONG)
    assert messages[2]["function_call"]["name"] == messages[3]["name"] == short
    assert messages[4] == fields["messages"][4]
    assert names[short] == LONG
    assert set(names.values()) == {LONG, DOTTED}
    assert fields["tools"][0]["function"]["name"] == LONG


def test_choice_among_several_tools():
    given = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool(LONG)]}}
    made, names = fitted_names({"tool_choice": given}, 64)
    assert made["tool_choice"]["allowed_tools"]["tools"][0]["function"]["name"] in names


def test_shortening_matches_litellms():
    from litellm.llms.anthropic.pass_through.adapters import transformation

    assert fitting_name(LONG, 64) == transformation.truncate_tool_name(LONG)


@given(st.lists(st.text(min_size=1, max_size=90), unique=True, max_size=6), st.sampled_from([USUAL, GOOGLES]))
def test_any_names_become_valid_and_stay_distinct(names: list[str], pattern: str):
    sent = [fitting_name(name, 64, pattern) for name in names]
    assert len(set(sent)) == len(names)
    assert all(re.fullmatch(pattern, name) and len(name) <= 64 for name in sent)
    assert sent == [fitting_name(name, 64, pattern) for name in names]


def test_only_whole_names_are_restored():
    made, names = fitted_names({"tools": [tool(LONG)]}, 64)
    short = made["tools"][0]["function"]["name"]
    answer = {"name": short, "arguments": orjson.dumps({"text": short}).decode(), "content": f"I call {short}."}
    back = orjson.loads(names_given_back(orjson.dumps(answer), names))
    assert back == {**answer, "name": LONG}


@pytest.mark.parametrize("odd", ['quo"te', "ümlaut", "back\\slash", "a b"])
def test_unusual_characters_are_restored_as_json(odd: str):
    made, names = fitted_names({"tools": [tool(odd)]}, 64)
    short = made["tools"][0]["function"]["name"]
    assert orjson.loads(names_given_back(orjson.dumps({"name": short}), names)) == {"name": odd}


def test_names_in_a_stream_are_restored():
    class Inner:
        usage = failed = None
        cut_off = False

        def feed(self, data: bytes) -> bytes:
            return data

        def end(self) -> bytes:
            return b'{"name":"short_1"}'

        def begins(self, new: bytes) -> bool:
            return True

    events = RestoredEvents(Inner(), {"short_1": "long"})
    assert events.feed(b'{"name": "short_1"}') == b'{"name": "long"}'
    assert events.end() == b'{"name":"long"}'
    assert events.begins(b"x")
