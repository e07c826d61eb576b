"""What the kinds of characters that a text is made of weigh, in tokens, by the tokenizer of the model.

Fitted by linear programming, each column to its own tokenizers: the lowest weights by which nothing in the tests'
corpus comes out under the truth, and as little as may be of 11,000 other texts (message catalogues and the Declaration
of Human Rights in hundreds of languages, code, data). The last column is for every tokenizer that is not known to be
another's: it is fitted to the most that any of nine makes of a text (the first two, Anthropic's public one, and those
of Gemma 2 and 3, Llama 3, Qwen 3, DeepSeek V3 and Mistral).
"""

from collections.abc import Mapping

O200K, CL100K, LARGEST = "o200k", "cl100k", "largest"

# One letter stands for a class of characters, a word for something else that is counted.
_TABLE: tuple[tuple[str, float, float, float], ...] = (
    ("text", 0.02, 0.02, 0.02),  # each text
    ("e", 0.15, 0.15, 0.15),  # the letters e l m r c t
    ("d", 0.225, 0.328, 0.385),  # a n u p d s o i b y
    ("f", 0.631, 0.885, 0.855),  # f h v w z
    ("k", 1.434, 1.194, 1.195),  # g k j q x
    ("A", 0.558, 0.596, 0.634),  # capitals
    ("0", 0.333, 0.333, 1.059),  # digits
    ("s", 0.062, 0.043, 0.064),  # spaces
    (".", 0.686, 0.676, 0.718),  # punctuation
    ("t", 0.415, 0.392, 0.33),  # tabs
    ("c", 1.045, 1.001, 2.117),  # other controls
    ("words", 0.508, 0.48, 0.455),  # runs of letters
    ("humps", 0.221, 1.075, 0.981),  # capitals after a small letter
    ("long", 1.825, 1.272, 0.769),  # letters over nine a word
    ("numbers", 0.946, 0.959, 0.255),  # runs of digits
    ("spaced", 1.012, 1.023, 0.697),  # numbers after a space
    ("lines", 1.208, 1.151, 1.19),  # line breaks, two in a row as one
    ("I", 1.747, 3.01, 3.194),  # U+0800–0DFF: scripts of India, but Devanagari
    ("T", 1.291, 1.684, 1.974),  # Thai
    ("o", 3.105, 3.084, 3.235),  # other scripts and rare blocks
    ("q", 1.595, 1.7, 1.804),  # U+0080–00BF
    ("w", 1.014, 1.247, 1.341),  # U+00C0–00FF: Western Europe
    ("l", 1.731, 1.865, 1.953),  # U+0100–023F: the rest of Latin
    ("i", 2.5, 2.5, 2.5),  # U+0240–037F: phonetics, combining marks
    ("g", 0.847, 1.251, 1.558),  # Greek
    ("y", 0.887, 1.141, 1.151),  # Cyrillic as it is written
    ("Y", 2.5, 2.408, 2.399),  # rarer Cyrillic
    ("m", 0.478, 2.143, 2.179),  # Armenian
    ("h", 0.751, 1.514, 1.514),  # Hebrew
    ("r", 1.555, 1.23, 1.431),  # Arabic
    ("R", 1.614, 2.5, 2.5),  # Arabic of other languages
    ("x", 2.5, 2.5, 2.5),  # Hebrew points, U+0700–07FF
    ("V", 1.935, 2.304, 2.387),  # Vietnamese and others
    ("p", 2.085, 2.401, 2.527),  # U+2000–20FF: dashes, quotes, currencies
    ("P", 2.901, 2.972, 2.991),  # U+2100–2BFF: symbols
    ("K", 1.706, 1.497, 1.565),  # kana, Chinese punctuation
    ("Q", 3, 3, 6),  # U+3100–33FF
    ("X", 3, 3, 3.5),  # rare Chinese characters
    ("H", 1.934, 2.417, 2.417),  # Chinese characters
    ("G", 2.248, 2.608, 2.698),  # hangul
    ("S", 2.145, 2.119, 2.121),  # half an emoji, or of anything beyond U+FFFF
    ("u", 3.011, 3.136, 3.214),  # private use, compatibility
    ("F", 2.948, 3.026, 15.001),  # U+FB00–FEFF: one may be 18 characters once it is normalised
    ("W", 2.068, 2.186, 2.849),  # full width
    ("D", 1.324, 1.851, 1.971),  # Devanagari
)
KINDS: tuple[str, ...] = tuple(row[0] for row in _TABLE)
WEIGHTS: Mapping[str, tuple[float, ...]] = {
    O200K: tuple(row[1] for row in _TABLE),
    CL100K: tuple(row[2] for row in _TABLE),
    LARGEST: tuple(row[3] for row in _TABLE),
}
