"""The quick scan of a chat: a conversation that it calls ordinary needs no changes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.formats.shared import fit
from container.formats.shared.capabilities import capabilities
from container.request.completion import look
from tests.container.conftest import LoadConfig

PROVIDERS = (
    "openai/gpt-4o",
    "openai/gpt-5",
    "openai/mine",
    "mistral/mistral-large-latest",
    "groq/llama-x",
    "deepseek/deepseek-chat",
    "openrouter/x",
    "hosted_vllm/x",
    "gemini/gemini-2.5-pro",
    "anthropic/claude-sonnet-4-5",
)
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASKED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "done"}
HELLO = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def seen(*messages: Any, **more: Any):
    found = look({"messages": list(messages), **more})
    assert found is not None
    return found


def test_texts_are_plain():
    assert seen({"role": "system", "content": "x"}, HELLO, {"role": "assistant", "content": "y"}).plain


def test_agents_conversation_is_ordinary():
    found = seen(HELLO, ASKED, RESULT, tools=[TOOL])
    assert found.ordinary
    assert not found.plain
    assert (found.longest_id, found.names, found.unsaid) == (6, {"f"}, True)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": ""},
        {"role": "user", "content": None},
        {"role": "user"},
        {"role": "user", "content": "x", "name": "me"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {}}]},
        {"role": "user", "content": ["x"]},
        {"role": "user", "content": {"text": "x"}},
        {"role": "tool", "content": "x"},
        {"role": "function", "name": "f", "content": "x"},
        {"role": "assistant", "content": "x", "reasoning_content": "y"},
        {"role": "assistant", "content": "x", "tool_calls": None},
        {"role": "assistant", "content": "x", "tool_calls": []},
        {"role": "assistant", "content": "x", "tool_calls": {"id": "x"}},
        {"role": "assistant", "tool_calls": [{**CALL, "index": 0}]},
        {"role": "assistant", "tool_calls": [{**CALL, "type": "custom"}]},
        {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "provider_specific_fields": {}}}]},
        {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": 1, "arguments": ""}}]},
        {"role": "assistant", "tool_calls": [{**CALL, "id": None}]},
        {"role": ["user"], "content": "x"},
        {"role": 1, "content": "x"},
        "x",
        None,
    ],
)
def test_other_conversation_is_not_ordinary(message):
    found = seen(HELLO, message)
    assert not found.ordinary
    assert not found.plain


@pytest.mark.parametrize("id", ["", "a b", "call_1__thought__x", "ü"])
def test_id_that_some_provider_rejects_has_no_length(id):
    assert seen({**ASKED, "tool_calls": [{**CALL, "id": id}]}).longest_id is None
    assert seen({**RESULT, "tool_call_id": id}).longest_id is None


def test_repeated_id_has_no_length():
    assert seen(ASKED, RESULT, ASKED, RESULT).longest_id is None


IDS = st.sampled_from(["call_1", "call_2", "a" * 9, "b" * 41, "", "x y", "call_3__thought__QQ"])
NAMES = st.sampled_from(["f", "g.h", "1st", "n" * 65])
TEXTS = st.sampled_from(["x", "", None, [{"type": "text", "text": "x"}], [{"type": "tool_reference"}], []])
CALLS = st.builds(
    lambda id, name, more: {"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}, **more},
    IDS,
    NAMES,
    st.sampled_from([{}, {}, {"index": 0}, {"provider_specific_fields": {}}]),
)
MESSAGES = st.one_of(
    st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["user", "developer"]), TEXTS),
    st.builds(
        lambda text, calls, more: {"role": "assistant", "content": text, "tool_calls": calls, **more},
        TEXTS,
        st.lists(CALLS, max_size=2),
        st.sampled_from([{}, {}, {"reasoning": "y"}, {"name": "me"}, {"audio": None}]),
    ),
    st.builds(lambda text, id: {"role": "tool", "content": text, "tool_call_id": id}, TEXTS, IDS),
)
TOOLS = st.sampled_from(
    [None, [TOOL], [{**TOOL, "cache_control": {}}], [{"type": "custom", "custom": {"name": "g.h"}}]]
)
CHOICES = st.sampled_from(["auto", {"type": "function", "function": {"name": "g.h"}}])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_scan_does_not_change_the_adapted_request(load_config: LoadConfig, provider: str):
    yaml = (
        f"model_list: [{{model_name: m, litellm_params: {{model: {provider}, api_key: k, api_base: 'http://x/v1'}}}}]"
    )
    d = load_config(yaml).deployments[0]
    can = capabilities(d, d.model)

    @given(st.lists(MESSAGES, min_size=1, max_size=5), TOOLS, CHOICES)
    def compare(messages, tools, choice):
        body = {"messages": messages, **({"tools": tools, "tool_choice": choice} if tools else {})}
        found = look(body)
        once, names = fit.fit_conversation(d, d.model, body, found, drop_params=False)
        assert (once, names) == fit.fit_conversation(d, d.model, body, None, drop_params=False)
        with_look, without = dict(once), dict(once)
        fit.fit_fields(with_look, can, {}, found, drop_params=True)
        fit.fit_fields(without, can, {}, None, drop_params=True)
        assert with_look == without

    compare()
