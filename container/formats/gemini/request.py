"""Translates a chat request to Gemini's format, for the model at hand.

Adjacent messages of the same role are merged into one turn. A tool result is a separate user turn with the name of its
function, which is looked up by the call id. https://ai.google.dev/api/generate-content#request-body
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from ..shared.fit import missed
from ..shared.tool_identifiers import SIGNATURE_MARK
from ..shared.wire import Unsupported
from .tools import choice, tools

Part = dict[str, Any]

# Models. Their names reveal how they differ. `reasoning_effort` and Anthropic's `thinking` become `thinkingConfig`:
# models before Gemini 3 have a token budget, later ones have levels. The budgets are LiteLLM's.
# https://ai.google.dev/gemini-api/docs/thinking

_BEFORE_3 = re.compile(r"gemini-(?:[12](?:\.\d+)?|exp|(?:pro|flash)(?!-(?:lite-)?latest$))(?:-|$)")


class Traits(NamedTuple):
    """The features of a model.

    `system`: accepts system instructions. `call_ids`: calls have ids. `signs_calls`: requires a thought signature on
    the first call of a turn. `levels`: reasoning is set by level, not by a token budget. `penalties`: accepts
    penalties. `resolution_of_parts`: each image may have its own resolution.
    """

    name: str
    vertex: bool
    system: bool
    call_ids: bool
    signs_calls: bool
    levels: bool
    penalties: bool
    resolution_of_parts: bool


@lru_cache(maxsize=1024)
def traits(model: str, *, vertex: bool) -> Traits:
    name = model.rpartition("/")[2].lower()
    # The name of a tuned model is a number, which does not reveal the base model.
    new = name.startswith("gemini-") and not _BEFORE_3.match(name)
    return Traits(
        name=name,
        vertex=vertex,
        system=not name.startswith("gemma"),
        call_ids=new,
        signs_calls=new,
        levels=new,
        penalties=not new,
        resolution_of_parts=new,
    )


_BUDGETS = {"low": 1024, "medium": 2048, "high": 4096}
# The smallest accepted reasoning budgets.
_LEAST = (("gemini-2.5-flash-lite", 512), ("gemini-2.5-pro", 128), ("gemini-2.5-flash", 1))
_LEAST_OF_OTHERS = 128
_NOT_AT_ALL = ("none", "disable")
# Levels of other providers above the highest one here.
_HIGHER = ("xhigh", "max")


def from_effort(effort: Any, traits: Traits) -> dict[str, Any] | None:
    """The `thinkingConfig` for an effort, or None if the effort is unknown."""
    if effort in _NOT_AT_ALL:
        if traits.levels:
            return {"thinkingLevel": _least_level(traits), "includeThoughts": False}
        return {"thinkingBudget": 0, "includeThoughts": False}
    if effort == "minimal":
        if traits.levels:
            return {"thinkingLevel": _least_level(traits), "includeThoughts": True}
        least = next((budget for part, budget in _LEAST if part in traits.name), _LEAST_OF_OTHERS)
        return {"thinkingBudget": least, "includeThoughts": True}
    if effort in _HIGHER:
        effort = "high"
    if effort not in _BUDGETS:
        return None
    if traits.levels:
        return {"thinkingLevel": effort, "includeThoughts": True}
    return {"thinkingBudget": _BUDGETS[effort], "includeThoughts": True}


def from_anthropic(thinking: dict[str, Any], traits: Traits) -> dict[str, Any]:
    """The `thinkingConfig` for `{"type": "enabled", "budget_tokens": n}`. With levels, it only turns reasoning on or
    off.
    """
    enabled, budget = thinking.get("type") == "enabled", thinking.get("budget_tokens")
    if traits.levels:
        return {"includeThoughts": enabled and budget != 0}
    found: dict[str, Any] = {"includeThoughts": True} if enabled and budget != 0 else {}
    if isinstance(budget, int):
        found["thinkingBudget"] = budget
    return found


def _least_level(traits: Traits) -> str:
    return "minimal" if "flash" in traits.name else "low"


# The request.

# Fields that move to `generationConfig` unchanged, under OpenAI's and Google's names.
_GENERATION = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "n": "candidateCount",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
    "thinkingConfig": "thinkingConfig",
    "mediaResolution": "mediaResolution",
}
_PENALTIES = {"presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty"}
# Top-level fields, under LiteLLM's and Google's names.
_BESIDE = {
    "safety_settings": "safetySettings",
    "safetySettings": "safetySettings",
    "cached_content": "cachedContent",
    "cachedContent": "cachedContent",
}
# Labels, and features that every provider has by default. The response does not depend on these.
_IGNORED = frozenset(
    "model messages max_tokens stream stream_options user metadata store safety_identifier "
    "prompt_cache_key prompt_cache_retention parallel_tool_calls tools functions web_search_options".split()
)


def body(fields: Mapping[str, Any], traits: Traits, *, drop_params: bool) -> dict[str, Any]:
    """Builds the request body.

    `fields` contain at most one output limit, `max_tokens`. Raises Unsupported for fields that Gemini does not have,
    unless `drop_params` permits dropping them.
    """
    said = turns(fields["messages"], traits)
    result: dict[str, Any] = {"contents": said.contents}
    if said.system:
        result["systemInstruction"] = {"parts": said.system}
    generation: dict[str, Any] = {}
    if said.resolution and traits.name.startswith("gemini-2"):
        generation["mediaResolution"] = f"MEDIA_RESOLUTION_{said.resolution}"
    for name, value in fields.items():
        if name in _IGNORED or value is None:
            continue
        if name in _GENERATION:
            generation[_GENERATION[name]] = value
        elif name in _BESIDE:
            result[_BESIDE[name]] = value
        else:
            mapping = _MAPPED.get(name)
            if mapping and mapping(value, traits, generation, result):
                continue
            if not drop_params and (mapping or missed(name, value)):
                raise Unsupported(name, f"This model does not support '{name}'.")
    if fields.get("max_tokens") is not None:
        generation["maxOutputTokens"] = fields["max_tokens"]
    declared = _declared(fields)
    if declared:
        result["tools"] = declared
    else:
        result.pop("toolConfig", None)
    if generation:
        result["generationConfig"] = generation
    return result


def _declared(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    # The legacy field contains only functions, never Google's own tools.
    functions = [{"type": "function", "function": function} for function in fields.get("functions") or ()]
    listed = fields.get("tools") or functions
    return tools(listed, web_search=isinstance(fields.get("web_search_options"), dict))


_Result = dict[str, Any]
# Writes the value of a field to the result. Returns whether that was possible.
_Mapping = Callable[[Any, Traits, _Result, _Result], bool]


def _stop(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
    generation["stopSequences"] = [value] if isinstance(value, str) else value
    return True


def _format(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
    """Translates `response_format`. Gemini accepts JSON Schema unchanged, including references.

    https://ai.google.dev/gemini-api/docs/structured-output
    """
    kind = value.get("type")
    if kind == "text":
        generation["responseMimeType"] = "text/plain"
        return True
    if kind not in ("json_object", "json_schema"):
        return False
    generation["responseMimeType"] = "application/json"
    described = value.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else value.get("response_schema")
    if isinstance(schema, dict) and schema:
        generation["responseJsonSchema"] = schema
    return True


def _penalty(name: str) -> _Mapping:
    def put(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
        if traits.penalties:
            generation[_PENALTIES[name]] = value
        return traits.penalties or value == 0

    return put


def _effort(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
    found = from_effort(value.get("effort") if isinstance(value, dict) else value, traits)
    if found:
        generation["thinkingConfig"] = found
    return found is not None


def _thinking(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
    if not isinstance(value, dict):
        return False
    generation["thinkingConfig"] = from_anthropic(value, traits)
    return True


def _choice(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
    result["toolConfig"] = choice(value)
    return True


def _tier(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
    """Omits `auto`, the SDKs' default. `priority` costs more and is only sent if requested."""
    if value != "auto":
        result["serviceTier"] = "standard" if value == "default" else value
    return True


def _labels(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
    if traits.vertex:
        result["labels"] = value
    return traits.vertex


def _modalities(value: Any, traits: Traits, generation: _Result, result: _Result) -> bool:
    return value == ["text"]


_MAPPED: dict[str, _Mapping] = {
    "stop": _stop,
    "response_format": _format,
    **{name: _penalty(name) for name in _PENALTIES},
    "reasoning_effort": _effort,
    "thinking": _thinking,
    "tool_choice": _choice,
    "service_tier": _tier,
    "labels": _labels,
    "modalities": _modalities,
}


# Messages become `contents` and `systemInstruction`. A thought signature reaches the client inside the id of its call
# (in LiteLLM's format: `<id>__thought__<signature>`) or in `provider_specific_fields`, and returns the same way.
# https://ai.google.dev/api/caching#Content, https://ai.google.dev/gemini-api/docs/thought-signatures

# Google's documented placeholder for calls made by another model: `skip_thought_signature_validator` in base64.
_NO_SIGNATURE = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="

_PICTURES = ("image_url", "input_image")
_FILES = ("file", "input_file")


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
        return Turns(self._contents, self._system, highest_resolution(self._levels))

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
            return self._at_resolution(image_part(said.get(kind), vertex=self._traits.vertex), said[kind])
        if kind == "file":
            return self._at_resolution(file_part(said.get(kind), vertex=self._traits.vertex), said[kind])
        if kind == "input_audio":
            return audio_part(said.get(kind))
        raise Unsupported("messages", f"This model does not support content of type {kind!r}.")

    def _at_resolution(self, part: Part, asked: Any) -> Part:
        level = resolution(asked)
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
                    self._at_resolution(image_part(item["image_url"], vertex=self._traits.vertex), item["image_url"])
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
        attached = inline_part(content) if content.startswith("data:image/") and ";base64," in content else None
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
        found = inline_part(url)
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


# Images, audio and documents. Inline data becomes `inlineData`. A URL becomes `fileData`, and Google fetches it. The
# proxy never fetches URLs from clients, because it has network access that clients do not have.
# https://ai.google.dev/gemini-api/docs/file-input-methods, https://ai.google.dev/api/caching#Part

FILES_API = "https://generativelanguage.googleapis.com/v1beta/files/"

# https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/image-understanding and related pages
_TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp",
    "pdf": "application/pdf", "txt": "text/plain",
    "aac": "audio/aac", "flac": "audio/flac", "mp3": "audio/mpeg", "mpa": "audio/m4a", "mpga": "audio/mpga",
    "opus": "audio/opus", "pcm": "audio/pcm", "wav": "audio/wav", "ogg": "audio/ogg",
    "flv": "video/x-flv", "mov": "video/quicktime", "mp4": "video/mp4", "mpeg": "video/mpeg", "mpg": "video/mpg",
    "mpegps": "video/mpegps", "webm": "video/webm", "wmv": "video/wmv", "3gpp": "video/3gpp", "avi": "video/avi",
}  # fmt: skip
_YOUTUBE = re.compile(r"https://(?:[^/?#]*[.@])?(?:youtube\.com|youtube-nocookie\.com|youtu\.be)(?=[/:?#.]|$)", re.I)
_LEVELS = {"low": "LOW", "medium": "MEDIUM", "high": "HIGH", "ultra_high": "ULTRA_HIGH"}
_VIDEO = (("fps", "fps"), ("start_offset", "startOffset"), ("end_offset", "endOffset"))


def image_part(value: Any, *, vertex: bool) -> Part:
    """Translates `image_url`: a URL, or `{"url", "format"}`.

    A URL of unknown type is sent as a JPEG, because the budget counts it as an image and it must not be treated as a
    video. Raises Unsupported if the type is known not to be an image.
    """
    fields = value if isinstance(value, dict) else {"url": value}
    url, stated = fields.get("url"), _stated_type(fields)
    if stated is None and isinstance(url, str) and url.startswith(("https://", "gs://")):
        stated = _guessed_type(url) or "image/jpeg"
    if (stated is not None and not stated.startswith("image/")) or _is_googles(url):
        raise Unsupported("messages", "Content that may not be an image has to be sent as a 'file'.")
    return _located(url, stated, "image_url", vertex=vertex)


def _is_googles(url: Any) -> bool:
    """Whether Google determines the type of this URL by itself."""
    return isinstance(url, str) and (url.startswith(FILES_API) or bool(_YOUTUBE.match(url)))


def file_part(value: Any, *, vertex: bool) -> Part:
    """Translates `file`: `{"file_id" | "file_data", "format", "video_metadata"}`."""
    fields = value if isinstance(value, dict) else {}
    part = _located(fields.get("file_id") or fields.get("file_data"), _stated_type(fields), "file", vertex=vertex)
    video = fields.get("video_metadata")
    if isinstance(video, dict):
        said = {theirs: video[ours] for ours, theirs in _VIDEO if ours in video}
        if said:
            part["videoMetadata"] = said
    return part


def audio_part(value: Any) -> Part:
    """Translates `input_audio`: `{"data": base64, "format": "wav"}`."""
    fields = value if isinstance(value, dict) else {}
    data, format = fields.get("data"), fields.get("format")
    if not isinstance(data, str) or not isinstance(format, str):
        raise Unsupported("messages", "An 'input_audio' needs 'data' and 'format'.")
    return {"inlineData": {"mimeType": format if format.startswith("audio/") else f"audio/{format}", "data": data}}


def inline_part(url: Any, stated: str | None = None) -> Part | None:
    """Translates a `data:` URL. Returns None for other URLs, and raises Unsupported for a malformed one."""
    if not isinstance(url, str) or not url.startswith("data:"):
        return None
    head, comma, data = url.partition(",")
    kind, *parameters = head[5:].split(";")
    if not comma or "base64" not in parameters or not (stated or kind):
        raise Unsupported("messages", "A 'data:' URL has to be 'data:<type>;base64,<data>'.")
    return {"inlineData": {"mimeType": stated or kind, "data": data}}


def resolution(value: Any) -> str | None:
    """The resolution requested by the `detail` of an image or file."""
    detail = value.get("detail") if isinstance(value, dict) else None
    return _LEVELS.get(detail) if isinstance(detail, str) else None


def highest_resolution(levels: list[str]) -> str | None:
    return max(levels, key=list(_LEVELS.values()).index) if levels else None


def _located(url: Any, stated: str | None, field: str, *, vertex: bool) -> Part:
    if not isinstance(url, str) or not url:
        raise Unsupported("messages", f"An '{field}' of a message has neither data nor a URL.")
    found = inline_part(url, stated)
    if found is not None:
        return found
    if url.startswith(FILES_API):
        return {"fileData": {**({"mimeType": stated} if stated else {}), "fileUri": url}}
    if not url.startswith(("gs://", "https://")):
        raise Unsupported("messages", f"An '{field}' has to be a 'data:', 'https:' or 'gs:' URL for this model.")
    kind = stated or _guessed_type(url)
    if kind is None and (vertex or url.startswith("gs://")):
        raise Unsupported("messages", f"The address of an '{field}' does not tell its type: add '{field}.format'.")
    return {"fileData": {**({"mimeType": kind} if kind else {}), "fileUri": url}}


def _stated_type(fields: Mapping[str, Any]) -> str | None:
    for name in ("format", "mime_type", "content_type"):
        if isinstance(fields.get(name), str) and fields[name]:
            return "image/jpeg" if fields[name] == "image/jpg" else fields[name]
    return None


def _guessed_type(url: str) -> str | None:
    """Guesses from the file extension."""
    return _TYPES.get(urlsplit(url).path.rpartition(".")[2].lower())
