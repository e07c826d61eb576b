"""An upper bound for the tokens of a request's prompt, as far as it can be known in advance.

All text is counted by classes of characters (`text_tokens`), wherever it appears. The number of tokens depends on the
model's tokenizer. Images count as a fixed maximum per model. Content whose size is unknown (files, audio, data that a
provider stores or looks up) is listed in `unbounded` and counts as the model's whole context window.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from . import tool_fees
from .tokens import LARGEST, Counted, count, text_tokens, tokens

# Tokens that chat templates add: per message, and once.
_PER_MESSAGE = 8
_ONCE = 8
# Tokens that providers add around tool definitions. Anthropic's system text for tools has up to 700 tokens.
_PER_TOOL = 16
_FOR_TOOLS = 700

# Types of message parts, and the fields that hold their data. A field counts whatever type the part claims.
_PICTURES = frozenset(("image_url", "input_image", "image", "computer_screenshot"))
_PICTURE_FIELDS = frozenset(("image_url", "input_image", "image"))
_OPAQUE = frozenset(
    "file input_file document input_audio audio audio_url video video_url input_video item_reference "
    "image_generation_call container_upload".split()
)
_OPAQUE_FIELDS = frozenset(
    "file input_file file_id file_data file_url fileData inlineData document document_url input_audio audio audio_url "
    "video video_url input_video".split()
)
# Fields that contain only text, whatever it looks like.
_TEXT_FIELDS = frozenset(("arguments", "action", "annotations", "citations"))
# A part with an ordinary type and none of these fields is just text.
_TELLING = _PICTURE_FIELDS | _OPAQUE_FIELDS | _TEXT_FIELDS | {"source", "images", "input", "cache_control"}
_ORDINARY = frozenset(
    "message text input_text output_text summary_text reasoning reasoning_text thinking redacted_thinking refusal "
    "function custom tool_call content search_result web_search_result".split()
)
_ORDINARY_ENDINGS = ("_call", "_call_output", "tool_use", "tool_result")
# Fields in which a part of any other type may refer to its data.
_POINTERS = frozenset(("url", "uri", "id", "data", "base64", "content_id"))
_ADDRESSES = ("https://", "http://", "gs://", "data:image/")
_STATED = ("format", "mime_type", "content_type", "media_type", "mimeType")
# Fields that make the provider add content that is not in the request.
_ELSEWHERE = frozenset(
    "previous_response_id conversation prompt_id web_search_options container mcp_servers cached_content "
    "cachedContent plugins search_parameters data_sources enable_search connectors".split()
)
# An empty object is not among them: it may enable a feature, as `web_search_options` does.
_NOTHING: tuple[Any, ...] = (None, False, "", [])
_OWN_TOOLS = frozenset(("function", "custom"))
# Groups of tools in OpenAI's Responses API, and Codex's item that declares tools in the conversation.
_NAMESPACE = frozenset(("type", "name", "description", "tools"))
_DECLARING = frozenset(("type", "id", "role", "tools"))
_OF_PARTS = frozenset(("messages", "input", "system"))
_TOOLS = frozenset(("tools", "functions"))
_CACHING = frozenset(("cache_control", "cache_control_injection_points"))
# How long a provider keeps what it writes to its cache.
# https://platform.claude.com/docs/en/build-with-claude/prompt-caching#1-hour-cache-duration
NOT_CACHED, FIVE_MINUTES, AN_HOUR = 0, 1, 2
# Fields that no model reads. The text of every other field counts, known or not.
_UNREAD = frozenset(
    "model stream stream_options temperature top_p top_k min_p n best_of seed stop stop_sequences max_tokens "
    "max_completion_tokens max_output_tokens user metadata tags store service_tier safety_identifier prompt_cache_key "
    "prompt_cache_retention presence_penalty frequency_penalty logit_bias logprobs top_logprobs modalities audio "
    "reasoning reasoning_effort thinking verbosity parallel_tool_calls include truncation background encoding_format "
    "dimensions timeout num_retries fallbacks disable_fallbacks safety_settings safetySettings voice size "
    "quality".split()
)


class Prompt(NamedTuple):
    """The parts of a prompt that determine its size.

    `fixed`: tokens independent of the tokenizer. `images`: the number of images. `unbounded`: names of content of
    unknown size. `cached`: the longest time for which the request asks to cache the prompt, which some providers charge
    extra for; unlike `Usage.cached`, it does not count what was read from a cache. `text`: the character counts of its
    text. `runs`: of tools that the provider bills besides the tokens.
    """

    fixed: int
    images: int = 0
    unbounded: tuple[str, ...] = ()
    cached: int = NOT_CACHED
    text: Counted | None = None
    runs: tool_fees.Runs = ()

    def tokens(self, tokenizer: str = LARGEST) -> int:
        """Returns the maximum without images and unbounded content. `tokenizer`: a name in `tokens.WEIGHTS`."""
        return self.fixed if self.text is None else self.fixed + tokens(self.text, tokenizer)


def prompt(body: Mapping[str, Any]) -> Prompt:
    """Measures a parsed JSON body for any endpoint."""
    walk = _Walk()
    fixed = _ONCE
    for name, value in body.items():
        if name in _UNREAD or value in _NOTHING:
            continue
        if name in _OF_PARTS:
            walk.take(value)
            if name == "messages" and isinstance(value, list):
                fixed += _PER_MESSAGE * len(value)
        elif name in _TOOLS:
            fixed += _FOR_TOOLS
            walk.tools(value)
        elif name in _ELSEWHERE:
            walk.unbounded.append(name)
        elif name in _CACHING:
            walk.marked(value)
        elif name in _TELLING:
            walk.take({name: value})
        elif isinstance(value, (str, list, dict)):
            walk.take(value, parts=False)
            if name == "context_management" and _compacts(value):
                walk.unbounded.append(name)
            elif name == "prompt" and isinstance(value, dict):
                # A stored prompt of OpenAI's Responses API; in completions, `prompt` is text.
                walk.unbounded.append(name)
    query, documents = body.get("query"), body.get("documents")
    if isinstance(query, str) and isinstance(documents, list):
        # The query is read once with each document.
        walk.numbers += text_tokens(query) * max(0, len(documents) - 1)
    text = "\n".join(walk.texts)
    # Some providers read text that contains image data as an image, as Gemini does with tool results.
    images = walk.images + text.count("\ndata:image/") + text.startswith("data:image/")
    runs = tool_fees.asked(body, walk.hosted) if walk.unbounded else ()
    return Prompt(fixed + walk.numbers, images, tuple(dict.fromkeys(walk.unbounded)), walk.cached, count(text), runs)


def _compacts(management: Any) -> bool:
    """Whether the prompt may be read a second time to summarize it. Content that is cleared is not read."""
    edits = management.get("edits") if isinstance(management, dict) else management
    known = (isinstance(e, dict) and str(e.get("type")).startswith("clear_") for e in edits or ())
    return not all(known)


def _is_picture(value: Any) -> bool:
    """Whether this is an image. Some providers accept documents and videos as images if their type or data says so."""
    fields = value if isinstance(value, Mapping) else {"url": value}
    url = fields.get("url")
    if not (url is None or (isinstance(url, str) and url.startswith(_ADDRESSES))) or fields.get("file_data"):
        return False
    kinds = (fields.get(name) for name in _STATED)
    return all(isinstance(kind, str) and kind.startswith("image/") for kind in kinds if kind)


class _Walk:
    """Collects countable content from nested JSON. It does not recurse, because requests may be deeply nested."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.numbers = 0
        self.images = 0
        self.unbounded: list[str] = []
        self.cached = NOT_CACHED
        self.hosted: list[Mapping[str, Any]] = []  # the tools that the provider runs

    def take(self, value: Any, *, parts: bool = True) -> None:
        """`parts`: whether objects may be message parts, which can contain more than text."""
        texts, stack = self.texts, [value]
        while stack:
            value = stack.pop()
            if isinstance(value, str):
                texts.append(value)
            elif isinstance(value, dict):
                if not parts or (_TELLING.isdisjoint(value) and _is_ordinary(value)):
                    # Keys count too: in schemas and arguments they are part of the prompt.
                    texts.extend(value)
                    stack.extend(value.values())
                else:
                    self._part(value, stack)
            elif isinstance(value, list):
                stack += value
            elif value is not None:
                # A token id, or a number in a schema.
                self.numbers += 2 if isinstance(value, float) else 1 + abs(int(value)) // 1_000_000

    def _part(self, part: dict[str, Any], stack: list[Any]) -> None:
        """Skips only the data of non-text content. The text in any other field may be read by the model."""
        kind = str(part.get("type"))
        if kind == "additional_tools" and part.keys() <= _DECLARING:
            self.tools(part.get("tools"))
            self.numbers += _FOR_TOOLS
            return
        pictured = kind in _PICTURES
        if kind in _OPAQUE or (pictured and not _is_picture(part)):
            self.unbounded.append(kind)
        elif pictured and not any(part.get(name) for name in (*_PICTURE_FIELDS, "source")):
            self.images += 1
        elif not (pictured or _is_ordinary(part)) and (kind in part or not _POINTERS.isdisjoint(part)):
            self.unbounded.append(kind)
        for name, value in part.items():
            if name == "cache_control":
                self.marked(value)
            elif value in _NOTHING:
                continue
            elif name in _TEXT_FIELDS or (name == "input" and kind.endswith("tool_use")):
                self.take([name, value], parts=False)
            elif name in _PICTURE_FIELDS or (name == "source" and pictured and _is_data(value)):
                self._picture(value, kind if pictured else name)
            elif name == "images" and isinstance(value, list):
                stack += [{"image": one} if isinstance(one, str) else one for one in value]
            elif name in _OPAQUE_FIELDS or (name == "source" and _is_data(value)):
                if not (pictured and name == "file_id"):
                    self.unbounded.append(name)
            else:
                self.texts.append(name)
                stack.append(value)

    def _picture(self, value: Any, name: str) -> None:
        if not _is_picture(value):
            self.unbounded.append(name)
            return
        self.images += 1
        if isinstance(value, dict):
            self.take([more for field, more in value.items() if field not in ("url", "data")], parts=False)

    def tools(self, tools: Any) -> None:
        try:
            self.texts.append(json.dumps(tools, ensure_ascii=False, separators=(",", ":")))
        except RecursionError:  # nested too deeply to be sent, which the client is told later
            self.take(tools, parts=False)
        for tool in self._each(tools):
            self.numbers += _PER_TOOL
            if not isinstance(tool, Mapping):
                continue
            # Anthropic's custom tools have no type or "custom". Any other type is run by the provider, and so is a tool
            # with only a name of its own, such as Gemini's `{"googleSearch": {}}`.
            kind = tool.get("type") or ("custom" if "name" in tool or "function" in tool else next(iter(tool), ""))
            if str(kind) not in _OWN_TOOLS:
                self.unbounded.append(str(kind))
                self.hosted.append(tool)
            function = tool.get("function")
            for marked in (tool, function):
                if isinstance(marked, Mapping) and "cache_control" in marked:
                    self.marked(marked["cache_control"])

    def _each(self, tools: Any) -> Iterator[Any]:
        """The tools, with those of a namespace instead of it. No provider has a namespace within another."""
        for tool in tools if isinstance(tools, list) else ():
            if isinstance(tool, Mapping) and tool.get("type") == "namespace" and tool.keys() <= _NAMESPACE:
                inner = tool.get("tools")
                if isinstance(inner, list) and inner:
                    # Models without namespaces get its name as the prefix of each tool's.
                    self.numbers += (len(inner) - 1) * text_tokens(str(tool.get("name")))
                    yield from inner
            else:
                yield tool

    def marked(self, marker: Any) -> None:
        """`marker`: a `cache_control`, or LiteLLM's list of injection points, whose `control` is one."""
        for one in marker if isinstance(marker, list) else (marker,):
            self.cached = max(self.cached, _time_cached(one))


def _time_cached(marker: Any) -> int:
    """Returns FIVE_MINUTES only if that is certain. Anthropic may add other times."""
    if marker is None:
        return NOT_CACHED
    control = marker.get("control", marker) if isinstance(marker, dict) else None
    ttl = control.get("ttl") if isinstance(control, dict) else "unknown"
    return FIVE_MINUTES if ttl in (None, "5m") else AN_HOUR


def _is_ordinary(part: dict[str, Any]) -> bool:
    """Whether parts of this type contain only text."""
    kind = part.get("type")
    if kind is None or kind == "text":
        return True
    kind = str(kind)
    return kind in _ORDINARY or kind.endswith(_ORDINARY_ENDINGS) or kind.startswith("reasoning.")


def _is_data(source: Any) -> bool:
    """Whether a part's `source` holds data. It may also hold text, other parts, or a citation's origin."""
    return isinstance(source, dict) and source.get("type") not in ("text", "content")
