"""An upper bound for the tokens of a text, without a tokenizer: classes of characters with weights per tokenizer."""

import re
from collections.abc import Mapping
from math import ceil
from operator import mul
from typing import NamedTuple

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
    """Counts each of `_SINGLE`. Removing each class shrinks the remaining text, which is faster than counting."""
    found = [0] * len(_SINGLE)
    size = len(classes)
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
