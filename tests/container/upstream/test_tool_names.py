"""Outgoing tool names are valid for the provider, and clients get their original names back."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.formats.shared.tool_identifiers import (
    GOOGLES,
    USUAL,
    RestoredEvents,
    fitted_names,
    fitting_name,
    names_given_back,
)

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
