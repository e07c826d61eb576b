"""Remembers servers without OpenAI's Responses API. Many OpenAI-compatible servers return 404 for it."""

import re

from ....config.deployment import Deployment
from ....routing.outcome import Outcome
from ...shared import refusals

_NOT_FOUND = 404
_NO_SUCH_PAGE = (_NOT_FOUND, 405, 501)
# llama.cpp says "File Not Found" for a missing path.
_PAGE = re.compile(r"\bfile not found\b(?!:)|\brequest url\b|\bpage not found\b")
_MOST_LEARNT = 4096


class ChatOnly:
    """Remembers which deployments have no Responses API, per model."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()

    def knows(self, d: Deployment, model: str) -> bool:
        return (d.id, model) in self._known

    def learn(self, d: Deployment, model: str) -> None:
        if len(self._known) >= _MOST_LEARNT:  # with wildcards, clients choose the model names
            self._known.clear()
        self._known.add((d.id, model))


def may_be(refusal: Outcome) -> bool:
    """Whether a refusal of `/responses` may mean that the endpoint is missing, and not the model or something in the
    request.
    """
    if refusal.status != _NOT_FOUND:
        return refusal.status in _NO_SUCH_PAGE
    said = refusal.message.lower()
    if refusals.says_no_such_model(refusal.code or "", said):
        return False
    return refusal.kind == "not_found" or _PAGE.search(said) is not None
