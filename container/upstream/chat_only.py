"""Servers that have chat completions and no Responses API, as many with OpenAI's format: asked for a response they
answer that there is no such page. LiteLLM then asks them for chat, and translates both ways.

https://docs.litellm.ai/docs/response_api
"""

import re

from ..config import Deployment
from ..routing.outcome import Outcome
from . import refusal_words

ENDPOINT = "responses"
# LiteLLM's word for it, in a request.
THROUGH_CHAT = {"use_chat_completions_api": True}
_NOT_FOUND = 404
_NO_SUCH_PAGE = (_NOT_FOUND, 405, 501)
# llama.cpp says of a page: "File Not Found".
_PAGE = re.compile(r"\bfile not found\b(?!:)|\brequest url\b|\bpage not found\b")
_MOST_LEARNT = 4096


class ChatOnly:
    """Learns which deployments they are, for a model each."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()

    def knows(self, d: Deployment, model: str) -> bool:
        return (d.id, model) in self._known

    def learn(self, d: Deployment, model: str) -> None:
        if len(self._known) >= _MOST_LEARNT:  # a wildcard's models are what clients write
            self._known.clear()
        self._known.add((d.id, model))


def may_be(refusal: Outcome) -> bool:
    """Whether a refusal of `/responses` may say that there is no such page, and not that something in the request, or
    the model, is not there."""
    if refusal.status != _NOT_FOUND:
        return refusal.status in _NO_SUCH_PAGE
    said = refusal.message.lower()
    if refusal_words.says_no_such_model(refusal.code or "", said):
        return False
    return refusal.kind == "not_found" or _PAGE.search(said) is not None


def of_both(page: Outcome, chat: Outcome) -> Outcome:
    """What counts where neither way has answered: chat's refusal, unless there is no such page either."""
    return page if chat.status in _NO_SUCH_PAGE else chat
