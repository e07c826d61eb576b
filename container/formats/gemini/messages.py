"""Translates OpenAI's messages to Gemini's `contents` and `systemInstruction`.

Adjacent messages of the same role are merged into one turn. A tool result is a separate user turn with the name of its
function, which is looked up by the call id. A thought signature reaches the client inside the id of its call (in
LiteLLM's format: `<id>__thought__<signature>`) or in `provider_specific_fields`, and returns the same way.

Sources: https://ai.google.dev/api/caching#Content, https://ai.google.dev/gemini-api/docs/thought-signatures
"""

from typing import Any, NamedTuple

import orjson

from ..shared.format import Unsupported
from ..shared.tool_identifiers import SIGNATURE_MARK
from . import media
from .models import Traits

# Google's documented placeholder for calls made by another model: `skip_thought_signature_validator` in base64.
_NO_SIGNATURE = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="

_PICTURES = ("image_url", "input_image")
_FILES = ("file", "input_file")

Part = dict[str, Any]


class Turns(NamedTuple):
    """The translated conversation. `resolution` is the highest that any image requests, if the model has a single
    setting.
    """

    contents: list[dict[str, Any]]
    system: list[Part]
    resolution: str | None


def turns(messages: list[dict[str, Any]], traits: Traits) -> Turns:
    """Translates the messages. Raises Unsupported for content that Gemini does not accept."""
    return _Turns(traits).read(messages)


class _Turns:
    def __init__(self, traits: Traits) -> None:
        self._traits = traits
        self._contents: list[dict[str, Any]] = []
        self._system: list[Part] = []
        self._levels: list[str] = []
        self._names: dict[str, str] = {}  # function names by call id
        self._open = ""  # the kind of the last turn: "user", "model" or "tool"

    def read(self, messages: list[dict[str, Any]]) -> Turns:
        for message in messages:
            role = message["role"]
            if role in ("system", "developer") and self._traits.system and message.get("content") is not None:
                self._system.append({"text": _text(message["content"])})
            elif role in ("user", "system", "developer"):
                self._add("user", self._user(message.get("content")))
            elif role == "assistant":
                self._add("model", self._assistant(message))
            elif role in ("tool", "function"):
                self._add("tool", [self._result(message)])
            else:
                raise Unsupported("messages", f"The role '{role}' is unknown.")
        for content in self._contents:
            # Google refuses turns that contain only images.
            if content["role"] == "user" and not any("text" in p or "functionResponse" in p for p in content["parts"]):
                content["parts"].append({"text": " "})
        if not self._contents:
            self._contents.append({"role": "user", "parts": [{"text": "." if self._system else " "}]})
        return Turns(self._contents, self._system, media.highest(self._levels))

    def _add(self, kind: str, parts: list[Part]) -> None:
        if not parts:
            return
        if kind == self._open:
            self._contents[-1]["parts"] += parts
        else:
            self._contents.append({"role": "model" if kind == "model" else "user", "parts": parts})
        self._open = kind

    def _user(self, content: Any) -> list[Part]:
        if isinstance(content, str):
            return [{"text": content}]
        return [part for said in content or () if (part := self._said(said)) is not None]

    def _said(self, said: dict[str, Any]) -> Part | None:
        kind = said.get("type")
        if kind == "text":
            text = said.get("text")
            return {"text": text} if isinstance(text, str) and text else None
        if kind == "image_url":
            return self._at_resolution(media.image(said.get(kind), vertex=self._traits.vertex), said[kind])
        if kind == "file":
            return self._at_resolution(media.file(said.get(kind), vertex=self._traits.vertex), said[kind])
        if kind == "input_audio":
            return media.audio(said.get(kind))
        raise Unsupported("messages", f"This model does not support content of type {kind!r}.")

    def _at_resolution(self, part: Part, asked: Any) -> Part:
        level = media.level(asked)
        if level and self._traits.resolution_of_parts:
            part["mediaResolution"] = {"level": f"MEDIA_RESOLUTION_{level}"}
        elif level:
            self._levels.append(level)
        return part

    def _assistant(self, message: dict[str, Any]) -> list[Part]:
        parts: list[Part] = []
        thought = message.get("reasoning_content")
        if isinstance(thought, str):
            parts.append({"text": thought, "thought": True})
        calls = [self._call(call) for call in _calls(message)]
        content = message.get("content")
        if isinstance(content, str):
            parts.append({"text": content, **_signature_of_text(message, calls)})
        else:
            texts = (p.get("text") for p in content or () if p.get("type") == "text")
            parts += [{"text": text} for text in texts if isinstance(text, str)]
        for item in message.get("images") or ():
            if isinstance(item, dict) and item.get("image_url"):
                parts.append(
                    self._at_resolution(media.image(item["image_url"], vertex=self._traits.vertex), item["image_url"])
                )
        if calls and self._traits.signs_calls and "thoughtSignature" not in calls[0]:
            calls[0]["thoughtSignature"] = _NO_SIGNATURE
        return parts + calls

    def _call(self, call: dict[str, Any]) -> Part:
        function = call.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise Unsupported("messages", "A tool call of an assistant message has no function name.")
        made: dict[str, Any] = {"name": function["name"], "args": _arguments(function.get("arguments"))}
        id = call.get("id")
        if isinstance(id, str) and id:
            self._names[_bare(id)] = function["name"]
            if self._traits.call_ids:
                made["id"] = _bare(id)
        signature = _signature(call)
        return {"functionCall": made, **({"thoughtSignature": signature} if signature else {})}

    def _result(self, message: dict[str, Any]) -> Part:
        id = message.get("tool_call_id")
        bare = _bare(id) if isinstance(id, str) else ""
        name = self._names.get(bare) or message.get("name")
        if not isinstance(name, str) or not name:
            raise Unsupported("messages", f"No tool call before the result has the id '{id}'.")
        text, attached = _result_content(message.get("content"))
        answer: dict[str, Any] = {"name": name, "response": _response(text)}
        if self._traits.call_ids and bare:
            answer["id"] = bare
        if attached:
            answer["parts"] = attached
        return {"functionResponse": answer}


def _calls(message: dict[str, Any]) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        if not all(isinstance(call, dict) for call in calls):
            raise Unsupported("messages", "'tool_calls' has to be an array of objects.")
        return calls
    function = message.get("function_call")
    return [{"function": function}] if isinstance(function, dict) else []


def _bare(id: str) -> str:
    """The call id without its signature."""
    return id.partition(SIGNATURE_MARK)[0]


def _signature(call: dict[str, Any]) -> str | None:
    function = call.get("function")
    for holder in (call, function if isinstance(function, dict) else {}):
        fields = holder.get("provider_specific_fields")
        found = fields.get("thought_signature") if isinstance(fields, dict) else None
        if isinstance(found, str) and found:
            return found
    id = call.get("id")
    return (id.partition(SIGNATURE_MARK)[2] or None) if isinstance(id, str) else None


def _signature_of_text(message: dict[str, Any], calls: list[Part]) -> dict[str, str]:
    """The signature of the text. Omitted if one of the calls has the same one, because each copy is billed."""
    fields = message.get("provider_specific_fields")
    found = fields.get("thought_signatures") if isinstance(fields, dict) else None
    if not isinstance(found, list) or not found or not isinstance(found[0], str):
        return {}
    return {} if any(call.get("thoughtSignature") == found[0] for call in calls) else {"thoughtSignature": found[0]}


def _arguments(text: Any) -> dict[str, Any]:
    if not text:
        return {}
    try:
        value = orjson.loads(text) if isinstance(text, str) else text
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise Unsupported("messages", "The 'arguments' of a tool call have to be a JSON object.")
    return value


def _result_content(content: Any) -> tuple[str, list[Part]]:
    """The text of a tool result, and its images and documents."""
    if isinstance(content, str):
        attached = media.inline(content) if content.startswith("data:image/") and ";base64," in content else None
        return ("", [attached]) if attached else (content, [])
    texts: list[str] = []
    attached_parts: list[Part] = []
    for part in content or ():
        kind = part.get("type")
        if kind == "text":
            texts.append(part.get("text") or "")
            continue
        value = part.get("image_url") if kind in _PICTURES else part.get("file", part) if kind in _FILES else None
        url = value.get("url") or value.get("file_data") if isinstance(value, dict) else value
        found = media.inline(url)
        if found is None:
            raise Unsupported("messages", "For this model, a tool result may only contain text and 'data:' URLs.")
        attached_parts.append(found)
    return "".join(texts), attached_parts


def _response(text: str) -> dict[str, Any]:
    """Google requires an object. A result that is a JSON object is used as it is."""
    if text.lstrip().startswith("{"):
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return {"content": text}
        if isinstance(value, dict):
            return value
    return {"content": text}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(p["text"] for p in content if isinstance(p.get("text"), str))
