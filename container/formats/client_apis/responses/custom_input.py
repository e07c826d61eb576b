"""Reads the input of a custom tool while its arguments, `{"input": "…"}`, are still being streamed."""

import re

import orjson

from .tools import INPUT

_BEGINNING = re.compile(rf'\s*\{{\s*"{INPUT}"\s*:\s*"')
_LONGEST_BEGINNING = 64
# The text up to the closing quotation mark. A backslash is only taken together with what it escapes, and half of a
# surrogate pair only with the other half.
_HIGH = "[dD][89abAB]"
_TEXT = re.compile(rf'(?:[^"\\]|\\u{_HIGH}[0-9a-fA-F]{{2}}\\u[0-9a-fA-F]{{4}}|\\u(?!{_HIGH})[0-9a-fA-F]{{4}}|\\[^u])*')


class CustomInput:
    """`said` has the pieces of the input that have been read."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._held = ""
        self._within = False
        self._ended = False

    def feed(self, arguments: str) -> str:
        """Returns the next piece of the input, or "" if it is not complete yet or the arguments have another form."""
        if self._ended:
            return ""
        self._held += arguments
        if not self._within:
            beginning = _BEGINNING.match(self._held)
            if beginning is None:
                self._ended = len(self._held) > _LONGEST_BEGINNING
                return ""
            self._within, self._held = True, self._held[beginning.end() :]
        found = _TEXT.match(self._held)
        text = found[0] if found else ""
        self._held = self._held[len(text) :]
        self._ended = self._held.startswith('"')
        try:
            piece: str = orjson.loads(f'"{text}"')
        except orjson.JSONDecodeError:  # a line break that is not escaped, for example
            self._ended = True
            return ""
        self.said.append(piece)
        return piece
