"""How many tokens a text has at most, without a tokenizer: by what kinds of characters it is made of.

A weight for each kind, fitted to the tokenizers that are public (OpenAI's cl100k and o200k, Anthropic's) over prose,
code and data in 90 languages so that no sample is estimated under any of them. What is frequent in English and in code
(`_FREQUENT`) has longer tokens and is credited for it; `_floor` bounds the credit, whatever a text is made of.

The patterns mean the same in JavaScript (with flags `gu`), for a host whose texts had better stay there.
"""

import re
from collections.abc import Sequence
from operator import mul

_FREQUENT = tuple(b"the ing and ion ent for ter ate all con res ver com str get ret our pro you".split())
_CREDIT = 3.93
_ONE = 2.633
# Of ASCII, by class letter: a lower, A upper, 0 digit, . punctuation, n newline, t tab, s space, c other control.
_ASCII_WEIGHTS = {b"a": 0.577, b"A": 0.896, b"0": 0.745, b".": 0.957, b"n": 0.093, b"t": 1.05, b"s": 0.02, b"c": 1.05}
_BEYOND_ASCII = (
    ("[\u0080-\u00ff]", 1.37),  # Western Europe
    ("[\u0100-\u024f]", 1.91),  # the rest of Latin
    ("[\u03ac-\u03ce]", 1.5),  # Greek as it is written
    ("[\u0410-\u045f]", 1.2),  # Cyrillic as it is written
    ("[\u05d0-\u05ea]", 1.56),  # Hebrew
    ("[\u0621-\u064a]", 1.5),  # Arabic
    ("[\u0370-\u03ab\u03cf-\u040f\u0460-\u052f]", 2.1),  # rarer Greek and Cyrillic
    ("[\u0250-\u036f\u0530-\u05cf\u05eb-\u0620\u064b-\u07ff]", 2.2),  # combining marks, Armenian and others
    ("[\u0900-\u097f]", 2.05),  # Devanagari
    ("[\u0980-\u0dff]", 3.32),  # the other scripts of India
    ("[\u0e00-\u0e7f]", 2.0),  # Thai
    ("[\u3040-\u30ff]", 1.6),  # kana
    ("[\u3000-\u303f\uff00-\uffef]", 1.85),  # full width
    ("[\u3400-\u9fff]", 2.461),  # Chinese characters
    ("[\uac00-\ud7af]", 2.704),  # hangul
    # one character of which is up to 18 when a tokenizer normalises it
    ("[\ufb50-\ufdff\ufe70-\ufeff]", 15.5),
    ("[\U00010000-\U0010ffff]", 4.25),  # emoji and all the rest
)
_OTHER = 3.14
# Of longer texts no more is counted: all of 32 MB would take five seconds.
_MOST_COUNTED = 1 << 20
_EXPANDING = re.compile("[\ufb50-\ufdff\ufe70-\ufeff]+")
_NO_ASCII = re.compile(r"[^\x00-\x7f]+")
_BEYOND = tuple((re.compile(pattern + "+"), weight) for pattern, weight in _BEYOND_ASCII)


def _class(byte: int) -> int:
    character = chr(byte)
    if character.islower():
        return ord("a")
    if character.isupper():
        return ord("A")
    if character.isdigit():
        return ord("0")
    if character in "\n\t ":
        return ord({"\n": "n", "\t": "t", " ": "s"}[character])
    return ord("." if byte > 32 and byte != 127 else "c")


_CLASSES = bytes(_class(b) if b < 128 else ord(" ") for b in range(256))


_KINDS, _WEIGHTS = tuple(_ASCII_WEIGHTS), tuple(_ASCII_WEIGHTS.values())
# The same bytes, with one class kept and all others made one, so that a run of it begins where "x" stands before it.
_LETTERS, _DIGITS, _MARKS = (
    bytes(kept[0] if bytes((kind,)) in (kept, also) else ord("x") for kind in _CLASSES)
    for kept, also in ((b"a", b"A"), (b"0", b"0"), (b".", b"."))
)


def text_tokens(text: str) -> int:
    """At least as many as any common tokenizer makes of the text; for the median text 1.4 times as many.

    Of a very long text, what lies beyond its first million characters counts as a token for each byte.
    """
    if len(text) > _MOST_COUNTED:
        return text_tokens(text[:_MOST_COUNTED]) + _most(text[_MOST_COUNTED:])
    if text.isascii():
        raw, beyond = text.encode(), 0.0
    else:
        raw = text.encode("ascii", "ignore")
        beyond = _beyond_ascii("".join(_NO_ASCII.findall(text)))
    classes = raw.translate(_CLASSES)
    count = classes.count
    counts = [count(kind) if kind in classes else 0 for kind in _KINDS]  # looking is cheaper than counting none
    natural = sum(map(mul, _WEIGHTS, counts))
    frequent = sum(map(raw.count, _FREQUENT))
    return int(max(natural - _CREDIT * frequent, _floor(raw, classes, counts)) + _ONE + beyond) + 1


def _most(text: str) -> int:
    """No token is less than a byte, but for characters that a tokenizer takes apart first."""
    if text.isascii():
        return len(text)
    return len(text.encode("utf-8", "surrogatepass")) + 13 * sum(map(len, _EXPANDING.findall(text)))


def _floor(raw: bytes, classes: bytes, counts: Sequence[int]) -> float:
    """What even a text of nothing but the most frequent words comes to: one token for each word, number, run of
    punctuation and line, one for three letters; and one for the space before a number, as in cl100k."""
    lower, upper, digits, marks, lines, *blank = counts
    words = _runs(raw.translate(_LETTERS), b"a", b"xa") + (1.5 * classes.count(b"aA") if upper else 0)
    total = max(words, 0.35 * lower) + 0.5 * upper
    total += 0.15 * max(0, lower - 9 * words)  # frequent parts without spaces between: nobody's words
    if digits:
        numbers = _runs(raw.translate(_DIGITS), b"0", b"x0")
        total += numbers + 0.5 * (digits - numbers) + classes.count(b"s0")
    if marks:
        points = _runs(raw.translate(_MARKS), b".", b"x.")
        total += points + 0.6 * (marks - points)
    if lines:
        total += lines - classes.count(b"nn")
    return total + sum(map(mul, _WEIGHTS[-len(blank) :], blank))


def _runs(kept: bytes, kind: bytes, beginning: bytes) -> int:
    """How many runs of the class there are."""
    return kept.count(beginning) + kept.startswith(kind)


def _beyond_ascii(text: str) -> float:
    total, known = 0.0, 0
    for pattern, weight in _BEYOND:
        count = sum(map(len, pattern.findall(text)))
        known += count
        total += weight * count
    return total + _OTHER * (len(text) - known)
