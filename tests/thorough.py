"""How many examples the tests generate: few in the usual run, with new ones in each, and more with THOROUGH=1."""

import os

THOROUGH = bool(os.environ.get("THOROUGH"))


def examples(most: int, usual: int) -> int:
    return most if THOROUGH else usual
