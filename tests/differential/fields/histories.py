"""Conversations from clients: roles, content parts, tool rounds, reasoning, cache markers, IDs and names."""

from typing import Any

_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_PICTURE = f"data:image/png;base64,{_PIXEL}"
_EPHEMERAL = {"type": "ephemeral"}
_HI = {"role": "user", "content": "Hi"}


def _user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def _text(text: str = "Look", **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **more}


def _round(id: str = "call_1", name: str = "weather", result: Any = "rain", **more: Any) -> list[dict[str, Any]]:
    """A question, a call and its result. `more` are further fields of the assistant's message."""
    call = {"id": id, "type": "function", "function": {"name": name, "arguments": '{"city":"Ulm"}'}}
    said = {"role": "assistant", "content": None, "tool_calls": [call], **more}
    return [_HI, said, {"role": "tool", "tool_call_id": id, "content": result}]


_TOOLS = {
    "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
}
_LONG_ID = "call_" + "a1" * 30
_THINKING = {"type": "thinking", "thinking": "Rain, surely.", "signature": "c2lnbmF0dXJl"}

CHAT: dict[str, dict[str, Any]] = {
    "developer": {"messages": [{"role": "developer", "content": "Be brief."}, _HI]},
    "developer parts": {"messages": [{"role": "developer", "content": [_text("Be brief.")]}, _HI]},
    "system": {"messages": [{"role": "system", "content": "Be brief."}, _HI]},
    "system parts": {"messages": [{"role": "system", "content": [_text("Be brief.")]}, _HI]},
    "system in the middle": {
        "messages": [
            _HI,
            {"role": "assistant", "content": "Hello"},
            {"role": "system", "content": "Be brief."},
            _HI,
        ]
    },
    "system and developer": {
        "messages": [{"role": "system", "content": "A"}, {"role": "developer", "content": "B"}, _HI]
    },
    "system only": {"messages": [{"role": "system", "content": "Say hi."}]},
    "name": {"messages": [{"role": "user", "name": "ada", "content": "Hi"}]},
    "assistant last": {"messages": [_HI, {"role": "assistant", "content": "Hello, I"}]},
    "assistant prefix": {"messages": [_HI, {"role": "assistant", "content": "Hello, I", "prefix": True}]},
    "assistant parts": {"messages": [_HI, {"role": "assistant", "content": [_text("Hello")]}, _HI]},
    "assistant refusal": {"messages": [_HI, {"role": "assistant", "content": None, "refusal": "No."}, _HI]},
    "assistant extras": {
        "messages": [
            _HI,
            {
                "role": "assistant",
                "content": "Hello",
                "refusal": None,
                "annotations": [],
                "audio": None,
                "function_call": None,
                "tool_calls": None,
            },
            _HI,
        ]
    },
    "assistant empty": {"messages": [_HI, {"role": "assistant", "content": ""}, _HI]},
    "reasoning_content": {
        "messages": [_HI, {"role": "assistant", "content": "Hello", "reasoning_content": "They greet."}, _HI]
    },
    "reasoning": {"messages": [_HI, {"role": "assistant", "content": "Hello", "reasoning": "They greet."}, _HI]},
    "thinking_blocks": {
        "messages": [
            _HI,
            {"role": "assistant", "content": "Hello", "reasoning_content": "R", "thinking_blocks": [_THINKING]},
            _HI,
        ]
    },
    "provider_specific_fields": {
        "messages": [_HI, {"role": "assistant", "content": "Hello", "provider_specific_fields": {"a": 1}}, _HI]
    },
    "tool round": {"messages": _round(), **_TOOLS},
    "tool round without tools": {"messages": _round()},
    "tool round with content": {"messages": _round(content="I look."), **_TOOLS},
    "tool round with reasoning": {"messages": _round(reasoning_content="Rain?"), **_TOOLS},
    "tool round with thinking": {"messages": _round(reasoning_content="Rain?", thinking_blocks=[_THINKING]), **_TOOLS},
    "tool result parts": {"messages": _round(result=[_text("rain")]), **_TOOLS},
    "tool result parts cached": {"messages": _round(result=[_text("rain", cache_control=_EPHEMERAL)]), **_TOOLS},
    "tool result two parts": {"messages": _round(result=[_text("rain"), _text("wind")]), **_TOOLS},
    "tool result picture": {
        "messages": _round(result=[{"type": "image_url", "image_url": {"url": _PICTURE}}]),
        **_TOOLS,
    },
    "tool result empty": {"messages": _round(result=""), **_TOOLS},
    "tool result name": {
        "messages": [*_round()[:2], {"role": "tool", "tool_call_id": "call_1", "name": "weather", "content": "r"}],
        **_TOOLS,
    },
    "tool id long": {"messages": _round(id=_LONG_ID), **_TOOLS},
    "tool id odd": {"messages": _round(id="call.1/+=:x"), **_TOOLS},
    "tool id of mistral": {"messages": _round(id="D681PevKs"), **_TOOLS},
    "tool id of gemini": {"messages": _round(id="call_ab__thought__CiQB+/abc/def+ghi=="), **_TOOLS},
    "tool arguments empty": {
        "messages": [
            _HI,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "r"},
        ],
        **_TOOLS,
    },
    "two calls": {
        "messages": [
            _HI,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [*_round("c1")[1]["tool_calls"], *_round("c2")[1]["tool_calls"]],
            },
            {"role": "tool", "tool_call_id": "c2", "content": "b"},
            {"role": "tool", "tool_call_id": "c1", "content": "a"},
        ],
        **_TOOLS,
    },
    "tool result, then user": {"messages": [*_round(), _HI], **_TOOLS},
    "function role": {
        "messages": [
            _HI,
            {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
            {"role": "function", "name": "weather", "content": "rain"},
        ]
    },
    "text parts": {"messages": [_user(_text("A"), _text("B"))]},
    "text part cached": {"messages": [_user(_text("A", cache_control=_EPHEMERAL))]},
    "message cached": {"messages": [{**_HI, "cache_control": _EPHEMERAL}]},
    "system part cached": {"messages": [{"role": "system", "content": [_text("S", cache_control=_EPHEMERAL)]}, _HI]},
    "assistant part cached": {
        "messages": [_HI, {"role": "assistant", "content": [_text("S", cache_control=_EPHEMERAL)]}, _HI]
    },
    "picture": {"messages": [_user(_text(), {"type": "image_url", "image_url": {"url": _PICTURE}})]},
    "picture as text": {"messages": [_user(_text(), {"type": "image_url", "image_url": _PICTURE})]},
    "picture with detail": {
        "messages": [_user(_text(), {"type": "image_url", "image_url": {"url": _PICTURE, "detail": "low"}})]
    },
    "picture with format": {
        "messages": [_user(_text(), {"type": "image_url", "image_url": {"url": _PICTURE, "format": "image/png"}})]
    },
    "sound": {
        "messages": [_user(_text(), {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}})]
    },
    "file": {
        "messages": [
            _user(
                _text(),
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
            )
        ]
    },
    "video": {"messages": [_user(_text(), {"type": "video_url", "video_url": {"url": "https://films.example/a.mp4"}})]},
    "empty text part": {"messages": [_user(_text(""), _text("B"))]},
    "two users": {"messages": [_HI, _HI]},
}


_USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Ulm"}}
_RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}
_TOOL = {"tools": [{"name": "weather", "input_schema": {"type": "object", "properties": {}}}]}


def _used(*blocks: dict[str, Any], result: dict[str, Any] = _RESULT, more: tuple[dict[str, Any], ...] = ()) -> Any:
    return [
        _HI,
        {"role": "assistant", "content": [*blocks, _USE]},
        {"role": "user", "content": [result, *more]},
    ]


MESSAGES: dict[str, dict[str, Any]] = {
    "text blocks": {"messages": [_user(_text("A"), _text("B"))]},
    "cached block": {"messages": [_user(_text("A", cache_control=_EPHEMERAL))]},
    "system in the middle": {
        "messages": [_HI, {"role": "assistant", "content": "Hello"}, {"role": "system", "content": "S"}, _HI]
    },
    "tool round": {"messages": _used(), **_TOOL},
    "tool round without tools": {"messages": _used()},
    "tool round with text": {"messages": _used(_text("I look.")), **_TOOL},
    "tool round with thinking": {"messages": _used(_THINKING), **_TOOL},
    "tool round with unsigned thinking": {"messages": _used({**_THINKING, "signature": ""}), **_TOOL},
    "tool round with redacted thinking": {
        "messages": _used({"type": "redacted_thinking", "data": "ZGF0YQ=="}),
        **_TOOL,
    },
    "thinking": {"messages": [_HI, {"role": "assistant", "content": [_THINKING, _text("Hello")]}, _HI]},
    "tool result cached": {"messages": _used(result={**_RESULT, "cache_control": _EPHEMERAL}), **_TOOL},
    "tool result error": {"messages": _used(result={**_RESULT, "is_error": True}), **_TOOL},
    "tool result blocks": {"messages": _used(result={**_RESULT, "content": [_text("rain"), _text("wind")]}), **_TOOL},
    "tool result without content": {
        "messages": _used(result={"type": "tool_result", "tool_use_id": "toolu_1"}),
        **_TOOL,
    },
    "tool result picture": {
        "messages": _used(
            result={
                **_RESULT,
                "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PIXEL}}],
            }
        ),
        **_TOOL,
    },
    "tool result and text": {"messages": _used(more=(_text("And now?"),)), **_TOOL},
    "tool result with reference": {
        "messages": _used(result={**_RESULT, "content": [{"type": "tool_reference", "tool_name": "weather"}]}),
        **_TOOL,
    },
    "picture": {
        "messages": [
            _user(_text(), {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PIXEL}})
        ]
    },
    "picture by address": {
        "messages": [_user(_text(), {"type": "image", "source": {"type": "url", "url": "https://p.example/a.png"}})]
    },
    "document": {
        "messages": [
            _user(
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
                    "title": "A",
                }
            )
        ]
    },
    "document as text": {
        "messages": [
            _user({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}})
        ]
    },
    "assistant last": {"messages": [_HI, {"role": "assistant", "content": "Hello, I"}]},
    "tool id odd": {
        "messages": [
            _HI,
            {"role": "assistant", "content": [{**_USE, "id": "call_a__thought__CiQB+/abc=="}]},
            {"role": "user", "content": [{**_RESULT, "tool_use_id": "call_a__thought__CiQB+/abc=="}]},
        ],
        **_TOOL,
    },
    "server tool": {
        "messages": [
            _HI,
            {
                "role": "assistant",
                "content": [
                    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
                    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
                    _text("Found."),
                ],
            },
            _HI,
        ]
    },
}
