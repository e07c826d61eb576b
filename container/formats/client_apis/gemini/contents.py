"""Translates Gemini's contents to the messages of a chat.

A turn of the model becomes an assistant message; results of functions become messages of their own, which come first in
a user's turn. Google's calls need no ids: a result belongs to the first open call with its id, else with its name.
https://ai.google.dev/api/caching#Content
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from worker.core.pricing.generate_content import LEFT_OUT, call_id

from ...shared.format import Malformed, Unsupported
from ...shared.tool_identifiers import SIGNATURE_MARK
from . import signatures

Part = Mapping[str, Any]
Message = dict[str, Any]

_SOUNDS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mp3": "mp3", "audio/mpeg": "mp3"}
_DOCUMENT = "application/pdf"
# The only field of a result whose value is all that it says.
_OUTPUTS = ("output", "result")
# Files at Google, which only Google can read.
_GOOGLES = ("https://generativelanguage.googleapis.com/", "https://www.youtube.com/", "https://youtu.be/")


def messages(
    contents: Sequence[Mapping[str, Any]], system: Mapping[str, Any] | None, *, lenient: bool
) -> list[Message]:
    """`lenient` replaces parts that a chat does not have with a note. In earlier turns this always happens, because
    refusing them would block the rest of the conversation. Raises Malformed and Unsupported.
    """
    made: list[Message] = []
    if system:
        text = "\n\n".join(part["text"] for part in _parts(system) if part.get("text"))
        if text:
            made.append({"role": "system", "content": text})
    calls = _Calls()
    last = len(contents) - 1
    for index, content in enumerate(contents):
        role = content.get("role") or "user"
        if role == "model":
            made += _assistant(_parts(content), calls)
        elif role in ("user", "function", "tool"):
            made += _user(_parts(content), calls, lenient=lenient or index < last)
        else:
            raise Malformed("contents.role", "The 'role' of a content has to be user or model.")
    return made


class _Calls:
    """The function calls of a conversation that have no result yet: their ids and names."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []
        self._used: set[str] = set()
        self._number = 0

    def add(self, given: str | None, name: str) -> str:
        id = given or ""
        while not id or id in self._used:
            self._number += 1
            id = call_id(self._number)
        self._used.add(id)
        self._open.append((id, name))
        return id

    def result(self, given: str | None, name: str | None) -> str:
        """The id of the call that a result answers. Raises Malformed."""
        for at, (id, called) in enumerate(self._open):
            if id == given if given and given in self._used else called == name:
                del self._open[at]
                return id
        raise Malformed("contents", f"No function call before the result of '{str(name)[:100]}' is without a result.")


def _parts(content: Mapping[str, Any]) -> list[Part]:
    return content.get("parts") or []


def _assistant(parts: Iterable[Part], calls: _Calls) -> list[Message]:
    texts: list[str] = []
    thoughts: list[str] = []
    made: list[dict[str, Any]] = []
    signed: list[dict[str, Any]] = []
    for part in parts:
        signature = part.get("thoughtSignature")
        carried = signatures.blocks(signature) if signature else None
        signed = signed or carried or []
        if "functionCall" in part:
            made.append(_call(part["functionCall"], calls, None if carried is not None else signature))
        elif part.get("thought"):
            thoughts.append(part.get("text") or "")
        elif part.get("text"):
            texts.append(part["text"])
        else:
            texts += _noted(part)
    message: Message = {"role": "assistant", "content": "".join(texts) or (None if made else "")}
    if any(thoughts):
        message["reasoning_content"] = "".join(thoughts)
    if signed:
        message["thinking_blocks"] = signed
    if made:
        message["tool_calls"] = made
    return [message]


def _call(call: Mapping[str, Any], calls: _Calls, signature: str | None) -> dict[str, Any]:
    name = call.get("name")
    if not name:
        raise Malformed("contents", "A 'functionCall' has no 'name'.")
    id = calls.add(call.get("id"), name)
    arguments = orjson.dumps(call.get("args") or {}).decode()
    mark = f"{SIGNATURE_MARK}{signature}" if signature else ""
    return {"id": id + mark, "type": "function", "function": {"name": name, "arguments": arguments}}


def _user(parts: Iterable[Part], calls: _Calls, *, lenient: bool) -> list[Message]:
    results: list[Message] = []
    said: list[dict[str, Any]] = []
    for part in parts:
        answer = part.get("functionResponse")
        if answer is None:
            said += _said(part, lenient=lenient)
            continue
        id = calls.result(answer.get("id"), answer.get("name"))
        results.append({"role": "tool", "tool_call_id": id, "content": _result(answer.get("response") or {})})
        for attached in answer.get("parts") or ():
            said += _said(attached, lenient=lenient)
    if not said:
        return results
    only = said[0]["text"] if len(said) == 1 and said[0]["type"] == "text" else said
    return [*results, {"role": "user", "content": only}]


def _result(response: Mapping[str, Any]) -> str:
    for name in _OUTPUTS:
        if len(response) == 1 and isinstance(response.get(name), str):
            return response[name]
    return orjson.dumps(response).decode()


def _said(part: Part, *, lenient: bool) -> list[dict[str, Any]]:
    """A user's part. An empty text is nothing, which chats refuse."""
    if "text" in part:
        return [{"type": "text", "text": part["text"]}] if part["text"] else []
    made = _blob(part["inlineData"]) if "inlineData" in part else _file(part.get("fileData") or {})
    if made is not None:
        return [made]
    if not lenient and ("inlineData" in part or "fileData" in part):
        kind = (part.get("inlineData") or part.get("fileData") or {}).get("mimeType")
        raise Unsupported("contents", f"This content of the type '{str(kind)[:100]}' needs a Gemini model.")
    return [{"type": "text", "text": text} for text in _noted(part)]


def _blob(blob: Mapping[str, Any]) -> dict[str, Any] | None:
    kind, data = blob.get("mimeType") or "", blob.get("data") or ""
    url = f"data:{kind};base64,{data}"
    if kind.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    if kind in _SOUNDS:
        return {"type": "input_audio", "input_audio": {"data": data, "format": _SOUNDS[kind]}}
    if kind == _DOCUMENT:
        return {"type": "file", "file": {"filename": blob.get("displayName") or "document.pdf", "file_data": url}}
    if kind.startswith("text/"):
        try:
            return {"type": "text", "text": base64.b64decode(data).decode()}
        except (binascii.Error, ValueError):
            raise Malformed("contents", "The 'data' of a text has to be UTF-8 in base64.") from None
    return None


def _file(file: Mapping[str, Any]) -> dict[str, Any] | None:
    """An image at an address. Providers do not fetch other content for a chat."""
    address, kind = file.get("fileUri") or "", file.get("mimeType") or ""
    if not kind.startswith("image/") or not address.startswith("https://") or address.startswith(_GOOGLES):
        return None
    return {"type": "image_url", "image_url": {"url": address}}


def _noted(part: Part) -> list[str]:
    """What remains of a part that a chat does not have: the text of executed code, else a note."""
    code, output = part.get("executableCode"), part.get("codeExecutionResult")
    for holder, name in ((code, "code"), (output, "output")):
        if isinstance(holder, dict):
            return [str(holder[name])] if holder.get(name) else []
    return [LEFT_OUT.format(kind=name) for name in ("inlineData", "fileData") if name in part]
