"""An upper bound for the tokens of a request's prompt, as far as it can be known in advance.

All text is counted, wherever it appears: by classes of characters, with weights for each tokenizer. Images count as a
fixed maximum per model. Content whose size is unknown (files, audio, data that a provider stores or looks up) is listed
in `unbounded` and counts as the model's whole context window.
"""

import json
import re
from collections.abc import Iterator, Mapping
from math import ceil
from operator import mul
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .usage import Runs

O200K, CL100K, LARGEST = "o200k", "cl100k", "largest"

# A single letter names a class of characters, a word names another feature that is counted.
_TABLE: tuple[tuple[str, float, float, float], ...] = (
    ("text", 0.02, 0.02, 0.02),  # each text
    ("e", 0.15, 0.15, 0.15),  # the letters e l m r c t
    ("d", 0.207, 0.317, 0.373),  # a n u p d s o i b y
    ("f", 0.64, 0.736, 0.862),  # f h v w z
    ("k", 1.459, 1.356, 1.22),  # g k j q x
    ("A", 0.558, 0.596, 0.634),  # capitals
    ("0", 0.333, 0.333, 1.076),  # digits
    ("s", 0.066, 0.036, 0.063),  # spaces
    (".", 0.686, 0.676, 0.718),  # punctuation
    ("t", 0.458, 0.391, 0.333),  # tabs
    ("c", 1.485, 1.001, 2.087),  # other controls
    ("words", 0.507, 0.49, 0.449),  # runs of letters
    ("humps", 0.239, 1.087, 0.992),  # capitals after a small letter
    ("long", 2.036, 1.486, 0.918),  # letters beyond nine per word
    ("numbers", 0.945, 0.958, 0.235),  # runs of digits
    ("spaced", 1.011, 1.033, 0.651),  # numbers after a space
    ("lines", 1.223, 1.159, 1.216),  # line breaks, two in a row count once
    ("I", 1.753, 2.268, 3.241),  # U+0800–0DFF: scripts of India except Devanagari
    ("T", 1.311, 1.658, 2.004),  # Thai
    ("o", 3.072, 3.127, 3.285),  # other scripts and rare blocks
    ("q", 1.414, 1.717, 1.814),  # U+0080–00BF
    ("w", 1.03, 1.266, 1.362),  # U+00C0–00FF: Western Europe
    ("l", 1.757, 1.893, 1.978),  # U+0100–023F: the rest of Latin
    ("i", 2.538, 2.538, 2.538),  # U+0240–037F: phonetics, combining marks
    ("g", 0.86, 1.257, 1.49),  # Greek
    ("y", 0.901, 1.159, 1.169),  # common Cyrillic
    ("Y", 2.538, 2.447, 2.435),  # rarer Cyrillic
    ("m", 0.471, 2.177, 2.212),  # Armenian
    ("h", 0.763, 1.537, 1.537),  # Hebrew
    ("r", 1.578, 1.249, 1.453),  # Arabic
    ("R", 1.638, 2.538, 2.538),  # Arabic of other languages
    ("x", 2.538, 2.538, 2.538),  # Hebrew points, U+0700–07FF
    ("V", 1.964, 1.987, 2.339),  # Vietnamese and others
    ("p", 2.116, 2.438, 2.481),  # U+2000–20FF: dashes, quotes, currencies
    ("P", 2.846, 3.003, 3.026),  # U+2100–2BFF: symbols
    ("K", 1.717, 1.486, 1.578),  # kana, Chinese punctuation
    ("Q", 3.045, 3.045, 6),  # U+3100–33FF
    ("X", 3.045, 3.045, 3.553),  # rare Chinese characters
    ("H", 1.964, 2.454, 2.454),  # Chinese characters
    ("G", 2.269, 2.625, 2.739),  # hangul
    ("S", 2.178, 2.135, 2.153),  # half of an emoji or of any other character beyond U+FFFF
    ("u", 3.056, 3.186, 3.263),  # private use, compatibility
    ("F", 2.993, 3.075, 15.001),  # U+FB00–FEFF: one can become 18 characters when normalized
    ("W", 2.1, 2.22, 2.82),  # full width
    ("D", 1.344, 1.879, 2.001),  # Devanagari
)
KINDS: tuple[str, ...] = tuple(row[0] for row in _TABLE)
WEIGHTS: Mapping[str, tuple[float, ...]] = {
    O200K: tuple(row[1] for row in _TABLE),
    CL100K: tuple(row[2] for row in _TABLE),
    LARGEST: tuple(row[3] for row in _TABLE),
}


# Longer texts are not analyzed completely: 32 MB would take half a second.
_MOST_COUNTED = 1 << 20
_EXPANDING = re.compile("[\ufb50-\ufdff\ufe70-\ufeff]+")
_USUAL_WORD = 9
_BLANK = {"\n": "n", "\t": "t", " ": "s"}
_LETTER_KINDS = {**dict.fromkeys("elmrct", "e"), **dict.fromkeys("fhvwz", "f"), **dict.fromkeys("gkjqx", "k")}


class Counted(NamedTuple):
    """`kinds`: the count of each of `KINDS`, truncated to the ASCII ones for ASCII text. `uncounted`: the maximum
    tokens of the part that was too long to analyze."""

    kinds: list[int]
    uncounted: int = 0


def text_tokens(text: str, tokenizer: str = LARGEST) -> int:
    """Returns the estimate for a single text; see `tokens`."""
    return tokens(count(text), tokenizer)


def tokens(counted: Counted, tokenizer: str = LARGEST) -> int:
    """Returns an upper bound for the tokenizer's count, as far as is known. It is 1.4 times the actual count for the
    median text. `tokenizer`: a name in `WEIGHTS`."""
    return ceil(sum(map(mul, WEIGHTS[tokenizer], counted.kinds))) + counted.uncounted


def count(text: str) -> Counted:
    """Counts a text. Beyond the first million characters, each byte counts as a token."""
    if len(text) > _MOST_COUNTED:
        return Counted(count(text[:_MOST_COUNTED]).kinds, _most(text[_MOST_COUNTED:]))
    if text.isascii():
        return Counted(_ascii(text.encode()))
    return Counted(_ascii(text.encode("ascii", "ignore")) + _beyond_ascii(text))


def _most(text: str) -> int:
    """Every token has at least one byte, except for characters that a tokenizer expands first."""
    if text.isascii():
        return len(text)
    return len(text.encode("utf-8", "surrogatepass")) + 13 * sum(map(len, _EXPANDING.findall(text)))


def _ascii_kind(byte: int) -> str:
    character = chr(byte)
    if character.islower():
        return _LETTER_KINDS.get(character, "d")
    if character.isupper():
        return "A"
    if character.isdigit():
        return "0"
    return _BLANK.get(character) or ("." if 32 < byte < 127 else "c")


_ASCII = "".join(map(_ascii_kind, range(128)))
_CLASSES = _ASCII.encode().ljust(256, b"?")
# The same bytes reduced to letters, cases or digits, so that a run starts after an "x".
_LETTERS, _CASES, _DIGITS = (
    "".join(kept.get(kind, "x") for kind in _ASCII).encode().ljust(256, b"x")
    for kept in (dict.fromkeys("edfkA", "a"), {**dict.fromkeys("edfk", "a"), "A": "A"}, {"0": "0"})
)
_SINGLE = KINDS[1:11]
_SINGLE_CLASSES = tuple(kind.encode() for kind in _SINGLE)
_SHORT = 2048
# With their indices in `_SINGLE`, most frequent first.
_BY_FREQUENCY = tuple((_SINGLE.index(kind), kind.encode()) for kind in "edsfk.A0tc")


def _ascii(raw: bytes) -> list[int]:
    """Returns counts in the order of `KINDS`: the text itself, each class of characters, then derived features."""
    classes = raw.translate(_CLASSES)
    single = _each(classes)
    *letters, upper, digits, spaces, _, _, _ = single
    words = _runs(raw.translate(_LETTERS), b"a", b"xa")
    humps = raw.translate(_CASES).count(b"aA") if upper else 0
    numbers = _runs(raw.translate(_DIGITS), b"0", b"x0") if digits else 0
    spaced = classes.count(b"s0") if digits and spaces else 0
    lines = classes.count(b"n")
    if lines:
        lines -= classes.count(b"nn")
    long = max(0, int(sum(letters) - _USUAL_WORD * (words + 1.5 * humps)))
    return [1, *single, words, humps, long, numbers, spaced, lines]


def _each(classes: bytes) -> list[int]:
    """Counts each of `_SINGLE`. In a long text, removing each class shrinks the rest, which is faster than counting."""
    size = len(classes)
    if size <= _SHORT:
        return list(map(classes.count, _SINGLE_CLASSES))
    found = [0] * len(_SINGLE)
    for place, kind in _BY_FREQUENCY:
        classes = classes.translate(None, kind)
        left = len(classes)
        found[place] = size - left
        if not left:
            break
        size = left
    return found


def _runs(kept: bytes, kind: bytes, beginning: bytes) -> int:
    """Returns the number of runs of the class."""
    return kept.count(beginning) + kept.startswith(kind)


def _by_range(*ranges: tuple[int, int, str]) -> tuple[bytes, bytes]:
    """Returns arguments for `bytes.translate` that keep one letter for each byte in the (inclusive) ranges."""
    kinds = {byte: kind for first, last, kind in ranges for byte in range(first, last + 1)}
    others = bytes(byte for byte in range(256) if byte not in kinds)
    return bytes(ord(kinds.get(byte, "?")) for byte in range(256)), others


# By the first UTF-8 byte for characters below U+0800, by the high UTF-16 byte for all others.
_LEADS = _by_range(
    (0xC2, 0xC2, "q"),
    (0xC3, 0xC3, "w"),
    (0xC4, 0xC8, "l"),
    (0xC9, 0xCD, "i"),
    (0xCE, 0xCF, "g"),
    (0xD0, 0xD1, "y"),
    (0xD2, 0xD4, "Y"),
    (0xD5, 0xD5, "m"),
    (0xD6, 0xD6, "n"),
    (0xD7, 0xD7, "h"),
    (0xD8, 0xD9, "r"),
    (0xDA, 0xDB, "R"),
    (0xDC, 0xDF, "x"),
)
_UPPERS = _by_range(
    (0x08, 0x0D, "I"),
    (0x0E, 0x0E, "T"),
    (0x0F, 0x1F, "o"),
    (0x1E, 0x1E, "V"),
    (0x20, 0x20, "p"),
    (0x21, 0x2B, "P"),
    (0x2C, 0x2F, "o"),
    (0x30, 0x30, "K"),
    (0x31, 0x33, "Q"),
    (0x34, 0x4D, "X"),
    (0x4E, 0x9F, "H"),
    (0xA0, 0xAB, "o"),
    (0xAC, 0xD6, "G"),
    (0xD7, 0xD7, "X"),
    (0xD8, 0xDF, "S"),
    (0xE0, 0xFA, "u"),
    (0xFB, 0xFE, "F"),
    (0xFF, 0xFF, "W"),
)
_BEYOND = tuple(kind.encode() for kind in KINDS[17:-1])


def _beyond_ascii(text: str) -> list[int]:
    """Returns counts in the order of `KINDS`. Characters with two UTF-16 code units count twice."""
    raw = text.encode("utf-8", "surrogatepass")
    kinds = raw.translate(*_LEADS) + text.encode("utf-16-be", "surrogatepass")[::2].translate(*_UPPERS)
    counts = {kind: kinds.count(kind) if kind in kinds else 0 for kind in _BEYOND}
    # Separate classes that share a block.
    devanagari = 0
    if counts[b"I"]:
        devanagari = raw.count(b"\xe0\xa4") + raw.count(b"\xe0\xa5")
        counts[b"I"] -= devanagari
    if counts[b"T"]:
        lao = counts[b"T"] - raw.count(b"\xe0\xb8") - raw.count(b"\xe0\xb9")
        counts[b"T"] -= lao
        counts[b"o"] += lao
    if b"n" in kinds:
        # The end of the Armenian alphabet or Hebrew points.
        either = kinds.count(b"n")
        armenian = min(either, counts[b"m"])
        counts[b"m"] += armenian
        counts[b"x"] += either - armenian
    return [*counts.values(), devanagari]


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
    runs: "Runs" = ()

    def tokens(self, tokenizer: str = LARGEST) -> int:
        """Returns the maximum without images and unbounded content. `tokenizer`: a name in `WEIGHTS`."""
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
    runs: Runs = ()
    if walk.unbounded:
        from .usage import runs_asked_for  # on first use, so that a new isolate starts sooner

        runs = runs_asked_for(body, walk.hosted)
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


# What a request of the Responses API refers to instead of containing it: the previous response, and stored items.
# https://platform.openai.com/docs/api-reference/responses/create#responses-create-input

# Items of other types may have content that only the provider has, such as the results of its own tools.
_SELF_CONTAINED = frozenset(
    "message function_call function_call_output custom_tool_call custom_tool_call_output local_shell_call "
    "local_shell_call_output shell_call shell_call_output apply_patch_call apply_patch_call_output "
    "computer_call_output mcp_approval_response compaction compaction_summary".split()
)


def is_reference(item: Mapping[str, Any]) -> bool:
    """Whether an item is only a reference. Without a `type`, that is an item with an `id` and no content."""
    kind = item.get("type")
    return kind == "item_reference" or (kind is None and "id" in item and not item.keys() - {"id", "type"})


def is_complete(item: Mapping[str, Any]) -> bool:
    """Whether everything that the model reads is in the item itself, so that its id does not matter."""
    kind = item.get("type")
    if kind == "reasoning":
        return bool(item.get("encrypted_content"))
    return (kind is None or kind in _SELF_CONTAINED) and not is_reference(item)


def refers(body: Mapping[str, Any]) -> bool:
    """Whether only the proxy can tell how large the prompt is."""
    if body.get("previous_response_id") is not None:
        return True
    items = body.get("input")
    return isinstance(items, list) and any(
        isinstance(item, dict) and "id" in item and not is_complete(item) for item in items
    )
