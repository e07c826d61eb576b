"""OpenAI's format. Chat requests use the Responses API for models that require it."""

import re

from ..config.deployment import Deployment
from ..request.completion import Completion
from ..routing.outcome import Outcome
from .responses import Note, Responses
from .shared.answer import Events, Plain
from .shared.capabilities import capabilities
from .shared.format import Format, Sent
from .shared.known_models import Served, refuses_tools

_CHAT = "chat_completions"
# Refusals saying that the model is served by another endpoint: "This model is only supported in v1/responses and not in
# v1/chat/completions.", "This is not a chat model and thus not supported in the v1/chat/completions endpoint.", "Please
# use /v1/responses instead", and Azure's "The chatCompletion operation does not work with the specified model".
_ELSEWHERE = re.compile(
    r"not a chat model|chatcompletion operation does not work"
    r"|\b(?:only|use|try|via|through|switch|migrate|available|supported)\b.*(?:/responses\b|\bresponses (?:api|end))"
)
_OF_TOOLS = re.compile(r"\btools?\b.*\breasoning|\breasoning.*\btools?\b")


class ChatOrResponses:
    """Learns from refusals which models require the Responses API, per deployment and model."""

    def __init__(self, chat: Format, *, drop_params: bool) -> None:
        self._chat = chat
        self._responses = Responses(drop_params=drop_params)
        self._learnt: dict[tuple[str, str], Served] = {}
        self.address = chat.address
        self.failure = chat.failure

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        format = self._responses if endpoint == "responses" else self._chat
        return format.url(d, base, model, endpoint, stream=stream)

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        if request.endpoint == _CHAT and self._through_responses(d, model, request):
            return self._responses.request(d, model, request)
        return self._chat.request(d, model, request)

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        if isinstance(sent.note, Note):
            return self._responses.again(d, model, request, sent, refusal)
        text = refusal.message.lower()
        if request.endpoint == _CHAT and _ELSEWHERE.search(text):
            made = self._responses.request(d, model, request)
            learns = "with_tools" if _OF_TOOLS.search(text) else "always"
            return made._replace(note=made.note._replace(learns=(d.id, model, learns)), stands=refusal)
        return None if refusal.kind == "not_found" else self._chat.again(d, model, request, sent, refusal)

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        return self._answering(sent).plain(raw, name, sent)

    def events(self, name: str, request: Completion, sent: Sent) -> Events:
        return self._answering(sent).events(name, request, sent)

    def _answering(self, sent: Sent) -> Format:
        """The format that parses the response. What a refusal suggested is only remembered once the new request
        succeeds.
        """
        if not isinstance(sent.note, Note):
            return self._chat
        if sent.note.learns:
            deployment, model, when = sent.note.learns
            self._learnt[deployment, model] = when
        return self._responses

    def _through_responses(self, d: Deployment, model: str, request: Completion) -> bool:
        learnt = self._learnt.get((d.id, model)) if self._learnt else None
        when = learnt or capabilities(d, model).responses
        if when != "with_tools":
            return when == "always"
        fields = {**d.presets, **request.body} if d.presets else request.body
        return refuses_tools(d, model, fields, by_default=learnt is not None)
