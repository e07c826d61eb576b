"""What the kinds of characters that a text is made of weigh, in tokens, by the tokenizer of the model.

Fitted by linear programming, each column to its own tokenizers: the lowest weights by which nothing in the tests'
corpus comes out under the truth, and as little as may be of 11,000 other texts (message catalogues and the Declaration
of Human Rights in hundreds of languages, code, data). The last column is for every tokenizer that is not known to be
another's: it is fitted to the most that any of nine makes of a text (the first two, Anthropic's public one, and those
of Gemma 2 and 3, Llama 3, Qwen 3, DeepSeek V3 and Mistral). Beyond ASCII, where texts made to hurt set the weights,
1.5 % is added: others of their kind may be a little worse.
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
    ("I", 1.753, 2.268, 3.241),  # U+0800–0DFF: scripts of India, but Devanagari
    ("T", 1.311, 1.658, 2.004),  # Thai
    ("o", 3.072, 3.127, 3.285),  # other scripts and rare blocks
    ("q", 1.414, 1.717, 1.814),  # U+0080–00BF
    ("w", 1.03, 1.266, 1.362),  # U+00C0–00FF: Western Europe
    ("l", 1.757, 1.893, 1.978),  # U+0100–023F: the rest of Latin
    ("i", 2.538, 2.538, 2.538),  # U+0240–037F: phonetics, combining marks
    ("g", 0.86, 1.257, 1.49),  # Greek
    ("y", 0.901, 1.159, 1.169),  # Cyrillic as it is written
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
    ("S", 2.178, 2.135, 2.153),  # half an emoji, or of anything beyond U+FFFF
    ("u", 3.056, 3.186, 3.263),  # private use, compatibility
    ("F", 2.993, 3.075, 15.001),  # U+FB00–FEFF: one may be 18 characters once it is normalised
    ("W", 2.1, 2.22, 2.82),  # full width
    ("D", 1.344, 1.879, 2.001),  # Devanagari
)
KINDS: tuple[str, ...] = tuple(row[0] for row in _TABLE)
WEIGHTS: Mapping[str, tuple[float, ...]] = {
    O200K: tuple(row[1] for row in _TABLE),
    CL100K: tuple(row[2] for row in _TABLE),
    LARGEST: tuple(row[3] for row in _TABLE),
}
