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
    ("long", 2.036, 1.486, 0.918),  # letters over nine a word
    ("numbers", 0.945, 0.958, 0.235),  # runs of digits
    ("spaced", 1.011, 1.033, 0.651),  # numbers after a space
    ("lines", 1.223, 1.159, 1.216),  # line breaks, two in a row as one
    ("I", 1.727, 2.234, 3.193),  # U+0800–0DFF: scripts of India, but Devanagari
    ("T", 1.291, 1.633, 1.974),  # Thai
    ("o", 3.026, 3.08, 3.236),  # other scripts and rare blocks
    ("q", 1.393, 1.691, 1.787),  # U+0080–00BF
    ("w", 1.014, 1.247, 1.341),  # U+00C0–00FF: Western Europe
    ("l", 1.731, 1.865, 1.948),  # U+0100–023F: the rest of Latin
    ("i", 2.5, 2.5, 2.5),  # U+0240–037F: phonetics, combining marks
    ("g", 0.847, 1.238, 1.467),  # Greek
    ("y", 0.887, 1.141, 1.151),  # Cyrillic as it is written
    ("Y", 2.5, 2.41, 2.399),  # rarer Cyrillic
    ("m", 0.464, 2.144, 2.179),  # Armenian
    ("h", 0.751, 1.514, 1.514),  # Hebrew
    ("r", 1.554, 1.23, 1.431),  # Arabic
    ("R", 1.613, 2.5, 2.5),  # Arabic of other languages
    ("x", 2.5, 2.5, 2.5),  # Hebrew points, U+0700–07FF
    ("V", 1.934, 1.957, 2.304),  # Vietnamese and others
    ("p", 2.084, 2.401, 2.444),  # U+2000–20FF: dashes, quotes, currencies
    ("P", 2.803, 2.958, 2.981),  # U+2100–2BFF: symbols
    ("K", 1.691, 1.464, 1.554),  # kana, Chinese punctuation
    ("Q", 3, 3, 6),  # U+3100–33FF
    ("X", 3, 3, 3.5),  # rare Chinese characters
    ("H", 1.934, 2.417, 2.417),  # Chinese characters
    ("G", 2.235, 2.586, 2.698),  # hangul
    ("S", 2.145, 2.103, 2.121),  # half an emoji, or of anything beyond U+FFFF
    ("u", 3.01, 3.138, 3.214),  # private use, compatibility
    ("F", 2.948, 3.029, 15.001),  # U+FB00–FEFF: one may be 18 characters once it is normalised
    ("W", 2.068, 2.187, 2.778),  # full width
    ("D", 1.324, 1.851, 1.971),  # Devanagari
)
KINDS: tuple[str, ...] = tuple(row[0] for row in _TABLE)
WEIGHTS: Mapping[str, tuple[float, ...]] = {
    O200K: tuple(row[1] for row in _TABLE),
    CL100K: tuple(row[2] for row in _TABLE),
    LARGEST: tuple(row[3] for row in _TABLE),
}
