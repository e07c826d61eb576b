"""How a prompt is measured: no content escapes the count by its declared type."""

from typing import Any

import pytest

from tests.ledger.test_estimate import chat, price
from worker.core.pricing.estimate import AN_HOUR, FIVE_MINUTES, NOT_CACHED, Prompt, prompt, text_tokens
from worker.core.pricing.quote import quote

LONG = "The quick brown fox jumps over the lazy dog. " * 100
TOKENS = text_tokens(LONG)
SCHEMA = {"type": "object", "properties": {"a": {"type": "image", "description": LONG}}}
PNG = {"type": "base64", "media_type": "image/png", "data": "A" * 100_000}


@pytest.mark.parametrize("kind", ["image", "image_url", "input_image", "text", "made_up"])
@pytest.mark.parametrize(
    "body",
    [
        lambda kind: {"messages": [{"role": "user", "type": kind, "content": LONG}]},
        lambda kind: chat("x", functions=[{"type": kind, "name": "f", "description": LONG}]),
        lambda kind: {"messages": [{"tool_calls": [{"type": kind, "id": "a", "function": {"arguments": LONG}}]}]},
        lambda kind: chat([{"type": kind, "image_url": {"url": "https://a.b/c.png", "detail": LONG}}]),
        lambda kind: chat([{"type": kind, "source": {"type": "text", "media_type": "image/png", "data": LONG}}]),
        lambda kind: chat("x", response_format={"type": kind, "json_schema": {"schema": SCHEMA}}),
    ],
)
def test_a_declared_type_hides_no_text(body: Any, kind: str) -> None:
    assert prompt(body(kind)).tokens() >= TOKENS


@pytest.mark.parametrize(
    "fields",
    [
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        {"output_format": {"type": "json_schema", "schema": SCHEMA}},
        {"preamble": LONG},
        {"chat_history": [{"role": "USER", "message": LONG}]},
        {"whatever_comes_next": {"deep": [LONG]}},
    ],
)
def test_text_in_every_field_is_counted(fields: dict[str, Any]) -> None:
    found = prompt(chat("x", **fields))
    assert found.tokens() >= TOKENS
    assert found.unbounded == ()


def test_fields_that_no_model_reads_are_not_counted() -> None:
    asked = chat("x", metadata={"a": LONG}, user=LONG, stop=[LONG], seed=2**40, logit_bias={"1": 2**40}, model=LONG)
    assert prompt(asked) == prompt(chat("x"))


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"type": "image", "source": {**PNG, "media_type": "video/mp4"}}, "image"),
        ({"type": "image", "source": {**PNG, "media_type": "application/pdf"}}, "image"),
        ({"type": "image", "source": {"type": "url", "url": "data:video/mp4;base64,AAAA"}}, "image"),
        ({"type": "image", "mime_type": "video/mp4", "base64": "AAAA"}, "image"),
        ({"type": "image_url", "image_url": {"url": None, "file_data": "data:video/mp4;base64,AAAA"}}, "image_url"),
        ({"image_url": {"url": "https://a.b/c", "format": "video/mp4"}}, "image_url"),
        ({"type": "text", "text": "x", "image_url": "data:audio/wav;base64,AAAA"}, "image_url"),
        ({"type": "audio_url", "audio_url": {"url": "https://a.b/c.mp3"}}, "audio_url"),
        ({"video_url": {"url": "https://a.b/c.mp4"}}, "video_url"),
        ({"input_audio": {"data": "AAAA", "format": "wav"}}, "input_audio"),
        ({"file": {"file_id": "file-1"}}, "file"),
        ({"type": "text", "text": "x", "source": {"type": "url", "url": "https://a.b/c"}}, "source"),
        ({"type": "media", "mime_type": "video/mp4", "data": "AAAA"}, "media"),
        ({"type": "film", "film": {"url": "https://a.b/c"}}, "film"),
        ({"type": "kept", "id": "kept_1"}, "kept"),
        ({"type": "tool_result", "content": [{"type": "document", "source": PNG}]}, "document"),
        ({"type": ["image"], "url": "https://a.b/c.png"}, "['image']"),
    ],
)
def test_a_part_that_may_not_be_an_image_is_unbounded(part: dict[str, Any], named: str) -> None:
    assert named in prompt(chat([part])).unbounded


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": "y", "audio": {"id": "audio_1"}},
        {"role": "assistant", "content": "y", "images": [{"image_url": {"url": "https://a.b", "format": "video/mp4"}}]},
        {"role": "assistant", "content": "y", "images": ["data:video/mp4;base64,AAAA"]},
        {"role": "user", "type": "file", "content": "x"},
    ],
)
def test_attachments_beside_a_messages_content_are_unbounded(message: dict[str, Any]) -> None:
    assert prompt({"messages": [message]}).unbounded


@pytest.mark.parametrize(
    "body",
    [
        chat([{"type": "image", "source": PNG}]),
        chat([{"type": "image", "source": {"type": "url", "url": "https://a.b/c"}}]),
        chat([{"type": "image", "source": {"type": "file", "file_id": "file_1"}}]),
        chat([{"type": "image_url", "image_url": {"url": "https://a.b/c", "format": "image/webp", "detail": "low"}}]),
        chat([{"image_url": {"url": "https://a.b/c.png"}}]),
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file_1", "detail": "auto"}]}]},
        {"input": [{"type": "computer_call_output", "output": {"type": "computer_screenshot", "file_id": "file_1"}}]},
        {"messages": [{"role": "assistant", "content": "y", "images": [{"image_url": {"url": "https://a.b"}}]}]},
        {"messages": [{"role": "tool", "tool_call_id": "a", "content": "data:image/png;base64,AAAA"}]},
    ],
)
def test_an_image_counts_as_one(body: dict[str, Any]) -> None:
    found = prompt(body)
    assert (found.images, found.unbounded) == (1, ())
    assert found.tokens() < 100


ORDINARY: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "input_text", "text": "x"}]},
    {"role": "assistant", "content": None, "audio": None, "refusal": None, "function_call": None, "annotations": []},
    {"role": "assistant", "id": "msg_1", "type": "message", "content": [{"type": "output_text", "text": "x"}]},
    {
        "role": "assistant",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
    {"role": "assistant", "reasoning_details": [{"type": "reasoning.encrypted", "id": "r", "data": "abc"}]},
    {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "s"}]},
    {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "abc"}]},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    {"content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"file": "a.txt", "type": "file", "url": "u"}}]},
    {"content": [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "x"}]}]},
    {"content": [{"type": "text", "text": "x", "citations": [{"type": "web", "url": "https://a.b"}]}]},
    {"content": [{"type": "search_result", "source": "https://a.b", "title": "x", "content": []}]},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "x"}]},
    {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "f", "arguments": '{"file": 1}'},
    {"type": "function_call_output", "call_id": "a", "output": "x"},
    {"type": "web_search_call", "id": "ws_1", "action": {"type": "open_page", "url": "https://a.b"}},
]


@pytest.mark.parametrize("message", ORDINARY)
@pytest.mark.parametrize("field", ["messages", "input"])
def test_text_only_messages_are_bounded(message: dict[str, Any], field: str) -> None:
    found = prompt({field: [message]})
    assert (found.unbounded, found.images) == ((), 0)


def test_a_schema_may_have_properties_of_any_name() -> None:
    schema = {"type": "object", "properties": {"file": {"type": "string"}, "image_url": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    asked = chat("x", response_format={"type": "json_schema", "json_schema": {"schema": schema}}, tools=[tool])
    assert (prompt(asked).unbounded, prompt(asked).images) == ((), 0)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"functions": [{"urlContext": {}}]}, "urlContext"),
        ({"functions": [{"googleSearch": {}}]}, "googleSearch"),
        ({"connectors": [{"id": "web-search"}]}, "connectors"),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management"),
        ({"context_management": [{"type": "compaction", "compact_threshold": 1000}]}, "context_management"),
    ],
)
def test_fields_that_fetch_content_are_named(fields: dict[str, Any], named: str) -> None:
    assert named in prompt(chat("x", **fields)).unbounded


def test_clearing_a_context_keeps_it_bounded() -> None:
    edits = [{"type": "clear_tool_uses_20250919"}, {"type": "clear_thinking_20251015", "keep": "all"}]
    assert prompt(chat("x", context_management={"edits": edits})).unbounded == ()


_FIVE_MINUTES: list[dict[str, Any]] = [{"type": "ephemeral"}, {"type": "ephemeral", "ttl": "5m"}]
_HOUR: list[Any] = [{"type": "ephemeral", "ttl": "1h"}, {"type": "ephemeral", "ttl": 3600}, {"ttl": "24h"}, "ephemeral"]


def _marked(marker: Any) -> list[dict[str, Any]]:
    """Requests with this marker in every place where one may be."""
    return [
        chat("x", cache_control=marker),
        chat("x", tools=[{"type": "function", "function": {"name": "f", "cache_control": marker}}]),
        chat("x", tools=[{"name": "f", "cache_control": marker}]),
        chat("x", cache_control_injection_points=[{"location": "message", "role": "system", "control": marker}]),
        chat([{"type": "image", "source": PNG, "cache_control": marker}]),
        {"messages": [{"role": "user", "content": "x", "cache_control": marker}]},
        {**chat("x"), "system": [{"type": "text", "text": "x", "cache_control": marker}]},
    ]


@pytest.mark.parametrize("marker", _FIVE_MINUTES)
def test_cache_markers_are_found_everywhere(marker: Any) -> None:
    assert [prompt(body).cached for body in _marked(marker)] == [FIVE_MINUTES] * len(_marked(marker))
    assert prompt(chat("x", cache_control_injection_points=[{"location": "message"}])).cached == FIVE_MINUTES


@pytest.mark.parametrize("marker", _HOUR)
def test_a_marker_for_another_time_counts_as_an_hour(marker: Any) -> None:
    for body in _marked(marker):
        assert prompt(body).cached == AN_HOUR
        longer = {**body, "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]}
        assert prompt({**longer, **body}).cached == AN_HOUR


def test_an_empty_marker_is_none() -> None:
    for body in _marked(None):
        assert prompt(body).cached == NOT_CACHED or "cache_control_injection_points" in body


@pytest.mark.parametrize(
    ("fields", "windows"),
    [
        ({"input": "one"}, 1),
        ({"input": ["one"] * 40}, 40),
        ({"input": [1, 2, 3]}, 1),
        ({"input": [1, "two", "three"]}, 3),
        ({"input": [[1, 2], [3]]}, 2),
        ({"query": "one", "documents": ["one", {"text": "two"}]}, 2),
    ],
)
def test_each_text_has_its_own_window(fields: dict[str, Any], windows: int) -> None:
    read = [("a", price(max_input_tokens=1000))]
    for asked in (Prompt(10**6), Prompt(0, unbounded=("file",))):
        assert quote(fields, asked, read, limits=()).tokens == windows * 1000
    if "input" in fields:
        assert quote({**fields, "max_tokens": 1}, Prompt(10**6), read).tokens == 1001  # a response has one prompt


def test_each_prompt_of_a_completion_has_its_own_window() -> None:
    read = [("a", price(max_input_tokens=1000))]
    assert quote({"prompt": ["one"] * 40, "max_tokens": 1}, Prompt(10**6), read).tokens == 40 * 1001


def test_a_query_is_counted_with_each_document() -> None:
    assert prompt({"query": LONG, "documents": ["x"] * 50}).tokens() >= 50 * TOKENS
