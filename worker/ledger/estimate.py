"""What a request's prompt may come to, in tokens: never under the truth as far as anyone can know it beforehand.

Texts are counted by their kinds of characters (`text_tokens`), wherever they stand; what that makes depends on the
model's tokenizer. Pictures count by a ceiling for each model. What cannot be known from the request (files, sound, what
a provider keeps or looks up) is named in `unbounded`, and counts as the model's whole context window.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from .text_tokens import Counted, count, tokens
from .tokenizers import LARGEST

# What chat templates add for each message, and once.
_PER_MESSAGE = 8
_ONCE = 8
# What providers put around tool definitions; Anthropic's own text for them has up to 700 tokens.
_PER_TOOL = 16
_FOR_TOOLS = 700

_IMAGES = frozenset(("image_url", "input_image", "image"))
_OPAQUE = frozenset(
    ("file", "input_file", "document", "input_audio", "audio", "video", "video_url", "input_video", "item_reference")
)
_NO_TEXT = _IMAGES | _OPAQUE
# Fields by which a provider brings in what the request does not show.
_ELSEWHERE = frozenset(
    "previous_response_id conversation prompt_id web_search_options container mcp_servers cached_content "
    "cachedContent plugins search_parameters data_sources enable_search".split()
)
# An empty object is none of them: it may switch something on, as `web_search_options` does.
_NOTHING: tuple[Any, ...] = (None, False, "", [])
_OWN_TOOLS = frozenset(("function", "custom"))
_TEXTS = frozenset(
    "messages prompt input system instructions suffix prediction response_format text query documents functions".split()
)


class Prompt(NamedTuple):
    """`fixed`: tokens that are the same for every tokenizer; `images`: how many; `unbounded`: what else there is, by
    the request's own words; `cached`: the request asks for its prompt to be cached, which some providers charge more
    for; `text`: what its texts are made of."""

    fixed: int
    images: int = 0
    unbounded: tuple[str, ...] = ()
    cached: bool = False
    text: Counted | None = None

    def tokens(self, tokenizer: str = LARGEST) -> int:
        """At most, without pictures and what is unbounded. `tokenizer`: a name in `tokenizers.WEIGHTS`."""
        return self.fixed if self.text is None else self.fixed + tokens(self.text, tokenizer)


def prompt(body: Mapping[str, Any]) -> Prompt:
    """Of a request's parsed JSON body, whichever endpoint it is for."""
    walk = _Walk()
    fixed = _ONCE
    for name, value in body.items():
        if name in _TEXTS:
            if value is not None:
                walk.take(value)
            if name == "messages" and isinstance(value, list):
                fixed += _PER_MESSAGE * len(value)
            elif name == "prompt" and isinstance(value, dict):
                # A stored prompt of OpenAI's responses API; that of completions is a text.
                walk.unbounded.append(name)
        elif name == "tools" and value:
            fixed += _FOR_TOOLS
            walk.tools(value)
        elif name in _ELSEWHERE and value not in _NOTHING:
            walk.unbounded.append(name)
    text = count("\n".join(walk.texts))
    return Prompt(fixed + walk.numbers, walk.images, tuple(dict.fromkeys(walk.unbounded)), walk.cached, text)


def _is_picture(value: Any) -> bool:
    """Some providers take documents and films for pictures when their type says so."""
    fields = value if isinstance(value, Mapping) else {"url": value}
    url = fields.get("url")
    kinds = [fields.get(name) for name in ("format", "mime_type", "content_type")]
    if isinstance(url, str) and url.startswith("data:"):
        kinds.append(url[5:50])
    return all(isinstance(kind, str) and kind.startswith("image/") for kind in kinds if kind)


class _Walk:
    """Collects what counts from nested JSON, without recursion: a request may be as deep as a parser lets it be."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.numbers = 0
        self.images = 0
        self.unbounded: list[str] = []
        self.cached = False

    def take(self, value: Any) -> None:
        texts, stack = self.texts, [value]
        while stack:
            value = stack.pop()
            if isinstance(value, str):
                texts.append(value)
            elif isinstance(value, dict):
                self._part(value, stack)
            elif isinstance(value, list):
                stack += value
            elif value is not None:
                # A token id, a number in a schema.
                self.numbers += 2 if isinstance(value, float) else 1 + abs(int(value)) // 1_000_000

    def _part(self, part: dict[str, Any], stack: list[Any]) -> None:
        kind = str(part.get("type"))
        if kind not in _NO_TEXT:
            # Names are part of the prompt where they are a schema's or an argument's.
            self.texts.extend(part)
            stack.extend(part.values())
        elif kind in _IMAGES and _is_picture(part.get("image_url")):
            self.images += 1
        else:
            self.unbounded.append(kind)
        if "cache_control" in part:
            self.cached = True

    def tools(self, tools: Any) -> None:
        self.texts.append(json.dumps(tools, ensure_ascii=False, separators=(",", ":")))
        for tool in tools if isinstance(tools, list) else ():
            self.numbers += _PER_TOOL
            if not isinstance(tool, Mapping):
                continue
            # Anthropic's have no type, or "custom"; every other type is one that the provider runs, and so is what
            # has nothing but a name of its own (Gemini's `{"googleSearch": {}}`).
            kind = tool.get("type") or ("custom" if "name" in tool or "function" in tool else next(iter(tool), ""))
            if str(kind) not in _OWN_TOOLS:
                self.unbounded.append(str(kind))
            self.cached = self.cached or "cache_control" in tool
