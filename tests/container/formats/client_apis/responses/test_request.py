"""Input items, tools and options of the Responses API, translated to a chat."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.config.deployment import Deployment
from container.formats.client_apis.responses.request import CustomInput, Tools, chat, family, messages, seal
from container.formats.shared.wire import Malformed, Unsupported

USER = {"role": "user", "content": "Hi"}


def deployment(format: str = "openai", model: str = "m", provider: str = "openai", **info: Any) -> Deployment:
    return Deployment(
        id="d", group="m", provider=provider, model=model, kind="direct", needs=(), off=(), format=format, info=info
    )


def translated(format: str = "openai", model: str = "m", **fields: Any) -> dict[str, Any]:
    provider = format if format != "openai" else "openai"
    return chat({"input": "Hi", **fields}, deployment(format, model, provider), model, drop_params=False)[0]


def said(*items: dict[str, Any], parts: bool = False, family: str = "f") -> list[dict[str, Any]]:
    return messages(list(items), None, family, parts_in_results=parts)


def call(id: str, name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function_call", "id": f"fc_{id}", "call_id": id, "name": name, "arguments": arguments}


def result(id: str, output: Any = "done") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id, "output": output}


def chat_call(id: str, name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_instructions_come_first():
    made = messages("Hi", "Be brief.", "f", parts_in_results=False)
    assert made == [{"role": "system", "content": "Be brief."}, USER]


def test_roles_and_contents():
    made = said(
        {"role": "developer", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "b"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "c"}, {"type": "refusal", "refusal": "d"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "e"}, {"type": "input_text", "text": "f"}]},
    )
    assert made[:3] == [
        {"role": "developer", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "cd"},
    ]
    assert made[3]["content"] == [{"type": "text", "text": "e"}, {"type": "text", "text": "f"}]


@pytest.mark.parametrize(
    ("part", "made"),
    [
        (
            {"type": "input_image", "image_url": "https://a.example/b.png", "detail": "low"},
            {"type": "image_url", "image_url": {"url": "https://a.example/b.png", "detail": "low"}},
        ),
        (
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
        ),
        (
            {"type": "input_file", "file_url": "https://a.example/b.pdf"},
            {"type": "file", "file": {"file_id": "https://a.example/b.pdf"}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
            {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
        ),
    ],
)
def test_parts(part: dict[str, Any], made: dict[str, Any]):
    assert said({"role": "user", "content": [part]}) == [{"role": "user", "content": [made]}]


@pytest.mark.parametrize("part", [{"type": "input_file", "file_id": "file-1"}, {"type": "input_image", "file_id": "f"}])
def test_file_stored_at_openai_is_refused(part: dict[str, Any]):
    with pytest.raises(Unsupported) as caught:
        said({"role": "user", "content": [part]})
    assert caught.value.param == "input"


def test_one_turn_becomes_one_message_followed_by_its_results():
    made = said(
        USER,
        {"role": "assistant", "content": "So"},
        call("a"),
        call("b", "g", '{"x":1}'),
        {"role": "user", "content": "wait"},
        result("b", "B"),
        result("a", "A"),
    )
    assert made == [
        USER,
        {"role": "assistant", "content": "So", "tool_calls": [chat_call("a"), chat_call("b", "g", '{"x":1}')]},
        {"role": "tool", "tool_call_id": "a", "content": "A"},
        {"role": "tool", "tool_call_id": "b", "content": "B"},
        {"role": "user", "content": "wait"},
    ]


def test_turns_with_results_in_between_stay_apart():
    made = said(call("a"), result("a"), call("b"), result("b"))
    assert [message["role"] for message in made] == ["assistant", "tool", "assistant", "tool"]


def test_call_ids_that_are_used_again():
    made = said(call("a"), result("a", "1"), call("a"), result("a", "2"))
    assert [message["content"] for message in made if message["role"] == "tool"] == ["1", "2"]


def test_result_without_a_call_is_left_to_the_provider():
    assert said(USER, result("x"))[1] == {"role": "tool", "tool_call_id": "x", "content": "done"}


IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,aGk="}
CHAT_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}


def test_picture_in_a_result_becomes_a_message_where_results_are_text():
    made = said(call("a"), call("b"), result("a", [{"type": "input_text", "text": "x"}, IMAGE]), result("b"))
    assert [message["role"] for message in made] == ["assistant", "tool", "tool", "user"]
    assert (made[1]["content"], made[3]["content"]) == ("x", [CHAT_IMAGE])


def test_picture_in_a_result_stays_where_the_model_can_see_it():
    made = said(call("a"), result("a", [IMAGE]), parts=True)
    assert made[1]["content"] == [CHAT_IMAGE]


def test_calls_of_client_tools_and_their_results():
    patch = {"type": "update_file", "path": "a", "diff": "+b"}
    made = said(
        {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": 'x "y"'},
        {"type": "custom_tool_call_output", "call_id": "a", "output": "ok"},
        {
            "type": "local_shell_call",
            "id": "l",
            "call_id": "b",
            "action": {"type": "exec", "command": ["ls"], "env": {}},
        },
        {"type": "local_shell_call_output", "id": "b", "output": "files"},
        {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}},
        {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "x", "stderr": ""}]},
        {"type": "apply_patch_call", "call_id": "d", "operation": patch},
        {"type": "apply_patch_call_output", "call_id": "d", "status": "completed", "output": None},
    )
    functions = [message["tool_calls"][0]["function"] for message in made if message["role"] == "assistant"]
    assert [(one["name"], orjson.loads(one["arguments"])) for one in functions] == [
        ("patch", {"input": 'x "y"'}),
        ("local_shell", {"command": ["ls"]}),
        ("shell", {"commands": ["ls"]}),
        ("apply_patch", patch),
    ]
    results = [message["content"] for message in made if message["role"] == "tool"]
    assert results == ["ok", "files", '[{"stdout":"x","stderr":""}]', "completed"]


@pytest.mark.parametrize(
    "kind", ["web_search_call", "mcp_call", "mcp_list_tools", "image_generation_call", "compaction"]
)
def test_work_of_openais_own_tools_is_left_out(kind: str):
    assert said(USER, {"type": kind, "id": "x", "status": "completed"}) == [USER]


@pytest.mark.parametrize("item", [{"type": "telepathy"}, {"role": "wizard", "content": "x"}])
def test_unknown_item_is_refused(item: dict[str, Any]):
    with pytest.raises(Unsupported):
        said(item)


# Reasoning

BLOCKS = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "x"}]


def reasoning(**kept: Any) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal("claude", "hm", kept)}


def test_reasoning_returns_to_the_same_models():
    made = said(reasoning(blocks=BLOCKS), call("a"), result("a"), family="claude")
    assert made[0]["thinking_blocks"] == BLOCKS
    assert said(reasoning(signatures=["s"]), {"role": "assistant", "content": "x"}, family="claude")[0][
        "provider_specific_fields"
    ] == {"thought_signatures": ["s"]}
    assert said(reasoning(), {"role": "assistant", "content": "x"}, family="claude")[0]["reasoning_content"] == "hm"


def test_reasoning_of_others_is_left_out():
    made = said(reasoning(blocks=BLOCKS), {"role": "assistant", "content": "x"}, family="gemini")
    assert made == [{"role": "assistant", "content": "x"}]


@pytest.mark.parametrize("content", [None, "", "gAAAA", "lr1.", "lr1.!!!", "lr1.aGk=", "lr1." + "A" * 9_000_000, 5])
def test_damaged_reasoning_is_left_out(content: Any):
    item = {"type": "reasoning", "summary": [], "encrypted_content": content}
    assert said(item, {"role": "assistant", "content": "x"}, family="claude") == [{"role": "assistant", "content": "x"}]


@pytest.mark.parametrize(
    ("format", "model", "expected"),
    [
        ("anthropic", "claude-sonnet-4-6", "claude"),
        ("vertex_ai", "claude-opus-4-1", "claude"),
        ("vertex_ai", "gemini-3-pro", "gemini"),
        ("openai", "DeepSeek-R", "openai/deepseek-r"),
    ],
)
def test_family(format: str, model: str, expected: str):
    assert family(deployment(format, model), model) == expected


# Tools

FUNCTION = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}
CUSTOM = {"type": "custom", "name": "patch", "description": "Patches.", "format": GRAMMAR}


def test_tools():
    namespace = {"type": "namespace", "name": "crm", "description": "d", "tools": [{"type": "function", "name": "g"}]}
    made = translated(tools=[FUNCTION, CUSTOM, namespace, {"type": "local_shell"}])["tools"]
    names = [tool["function"]["name"] for tool in made]
    assert names == ["f", "patch", "crm__g", "local_shell"]
    assert made[0]["function"] == {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    assert made[1]["function"]["parameters"]["required"] == ["input"]
    assert "start: /x/" in made[1]["function"]["description"]


def test_calls_become_items_of_the_clients_tools_again():
    tools = Tools(
        [{"type": "namespace", "name": "crm", "tools": [CUSTOM, FUNCTION]}, {"type": "shell"}], drop_params=False
    )
    custom, function, shell = (tools.begun("c", name) for name in ("crm__patch", "crm__f", "shell"))
    assert (custom["type"], custom["name"], custom["namespace"]) == ("custom_tool_call", "patch", "crm")
    assert (function["type"], function["name"], function["namespace"]) == ("function_call", "f", "crm")
    tools.complete(shell, '{"commands":["ls",1],"timeout_ms":"x"}')
    assert shell["action"] == {"commands": ["ls", "1"]}


@pytest.mark.parametrize("arguments", ["", "plain", "[1]", '{"other":1}', '{"input":5}'])
def test_custom_input_in_another_form_is_kept(arguments: str):
    tools = Tools([CUSTOM], drop_params=False)
    item = tools.begun("c", "patch")
    tools.complete(item, arguments)
    assert item["input"] == arguments


@pytest.mark.parametrize("kind", ["file_search", "code_interpreter", "mcp", "image_generation", "computer_use_preview"])
def test_tool_that_only_openai_runs_is_refused(kind: str):
    with pytest.raises(Unsupported) as caught:
        translated(tools=[{"type": kind}])
    assert caught.value.param == "tools"
    assert not Tools([{"type": kind}], drop_params=True).functions


@pytest.mark.parametrize("kind", ["web_search", "web_search_preview_2025_03_11", "tool_search"])
@pytest.mark.parametrize("format", ["openai", "anthropic", "gemini"])
def test_search_that_agents_offer_is_left_out(format: str, kind: str):
    made = translated(format, tools=[{"type": kind, "external_web_access": True}], tool_choice="auto")
    assert not made.keys() & {"tools", "tool_choice", "web_search_options"}


@pytest.mark.parametrize(
    ("given", "chosen", "offered"),
    [
        ("required", "required", ["f", "patch"]),
        ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}, ["f", "patch"]),
        ({"type": "custom", "name": "patch"}, {"type": "function", "function": {"name": "patch"}}, ["f", "patch"]),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "patch"}]},
            "required",
            ["patch"],
        ),
        ({"type": "web_search"}, "auto", ["f", "patch"]),
    ],
)
def test_tool_choice(given: Any, chosen: Any, offered: list[str]):
    made = translated(tools=[FUNCTION, CUSTOM], tool_choice=given)
    assert made["tool_choice"] == chosen
    assert [tool["function"]["name"] for tool in made["tools"]] == offered


# Options


def test_options_with_the_same_name():
    same = {"temperature": 0.5, "top_p": 0.9, "user": "ada", "service_tier": "flex", "prompt_cache_key": "k"}
    made = translated(**same, store=True, metadata={"a": "b"}, truncation="auto", include=["x"], max_tool_calls=3)
    assert made == {"messages": [USER], **same}


def test_structured_output_and_verbosity():
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True, "description": None}
    made = translated(text={"format": schema, "verbosity": "low"})
    expected = {"name": "n", "schema": {"type": "object"}, "strict": True}
    assert made["response_format"] == {"type": "json_schema", "json_schema": expected}
    assert made["verbosity"] == "low"
    assert translated(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    assert "response_format" not in translated(text={"format": {"type": "text"}})


def test_logprobs():
    assert translated(include=["message.output_text.logprobs"])["logprobs"] is True
    assert translated(top_logprobs=3)["top_logprobs"] == 3
    assert "logprobs" not in translated(top_logprobs=0)


def test_effort():
    assert translated("anthropic", "claude-sonnet-4-6", reasoning={"effort": "high"})["reasoning_effort"] == "high"
    assert translated(reasoning={"effort": "xhigh"})["reasoning_effort"] == "high"
    assert "reasoning_effort" not in translated(model="gpt-4o", reasoning={"effort": "high"})
    assert "reasoning_effort" not in translated(reasoning={"summary": "auto"})


@pytest.mark.parametrize("given", [None, []])
def test_missing_input_is_refused(given: Any):
    with pytest.raises(Malformed) as caught:
        translated(input=given)
    assert caught.value.param == "input"


@given(said=st.text(), ascii=st.booleans(), spaced=st.booleans(), data=st.data())
def test_pieces_add_up(said: str, ascii: bool, spaced: bool, data: st.DataObject):
    arguments = json.dumps({"input": said}, ensure_ascii=ascii, separators=(", ", ": ") if spaced else (",", ":"))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(arguments)))))
    reader = CustomInput()
    pieces = [reader.feed(arguments[a:b]) for a, b in zip([0, *cuts], [*cuts, len(arguments)], strict=True)]
    assert "".join(pieces) == "".join(reader.said) == said


@pytest.mark.parametrize("arguments", ['{"patch": "x"}', "[1]", "plain text", '{"input": 5}', '{"input": {"a": "b"}}'])
def test_other_arguments_are_left_to_the_end(arguments: str):
    assert CustomInput().feed(arguments) == ""


def test_nothing_is_read_behind_the_input():
    reader = CustomInput()
    assert reader.feed('{"input": "a", "more": "b"') == "a"
    assert reader.feed(', "input": "c"}') == ""


def test_invalid_text_ends_the_reading():
    reader = CustomInput()
    assert reader.feed('{"input": "a\nb') == ""
    assert reader.feed('c"}') == ""
