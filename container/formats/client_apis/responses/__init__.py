"""OpenAI's Responses API for clients.

Requests are passed through to providers that have this API. For all others they are translated to chat completions.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from worker.core.api.errors import ApiError
from worker.core.pricing.charge import LEAST_OF_RESPONSES

from ....config import output_limits
from ....config.deployment import Deployment
from ....config.model_routes import split_route
from ....request.completion import Completion
from ....request.engine_fields import FIELDS
from ....request.responses import ENCRYPTED_REASONING, ENDPOINT, without_storage
from ....request.stored_input import PREVIOUS
from ....routing.outcome import Outcome
from ...responses import Note, Responses, sent_as
from ...shared import prepare, reasoning
from ...shared.answer import Events, Plain
from ...shared.capabilities import capabilities, gives_reasoning, served, streams_responses
from ...shared.format import Format, Malformed, Sent, Unsupported
from ...shared.tool_identifiers import names_given_back
from ..over_chat import CHAT, AsChat, OverChat
from . import chat_only, failed, fitted, passing, sealed
from .answer import Asked, ResponseEvents, response
from .beside import ENDPOINTS as BESIDE
from .beside import Beside, answered_here
from .chat_only import ChatOnly
from .head import repeated
from .passing import PassedEvents
from .request import OPTIONAL, chat

_NO_SUCH_ITEM = re.compile(r"\b(?:[Ii]tem|[Rr]esponse) with id\b")
# Providers with this API, according to their documentation and to LiteLLM. A server at another address may lack
# it, as its first refusal shows. Groq's is a beta that refuses fields which agents send, so it is left out.
PROVIDERS = frozenset(("openai", "azure", "xai", "openrouter", "fireworks_ai", "hosted_vllm"))

# Those that store responses, in an account that all keys share. https://docs.x.ai/docs/guides/responses-api
STORING = frozenset(("openai", "azure", "xai", "fireworks_ai"))


def has_api(d: Deployment, model: str) -> bool:
    """Whether the deployment is known to have the Responses API, or may have it."""
    if d.kind != "direct" or d.format != "openai" or d.route == "chat_completions":
        return False
    if d.params.get("use_chat_completions_api"):
        return False
    return d.provider in PROVIDERS or served(d, model) == "always"


class Passing(Responses):
    """Passes the client's request through, with our credentials and the provider's model name."""

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        fields = {**_presets(d), **request.body}
        limit = limit_of(d, model, request)
        if limit is not None:
            fields["max_output_tokens"] = limit
        fit = fitted.fitted(d, model, fields)
        fields.update(fit.fields)
        for name in fit.dropped:
            fields.pop(name, None)
        _fit_reasoning(fields, d, model)
        fields["model"] = split_route(d.provider, model)[1]
        if not (request.stores and d.provider in STORING):
            if gives_reasoning(d, model) and (d.id, model) not in self._secretive:
                fields = without_storage(fields)
            fields["store"] = False
        if not fields.get("metadata", True):
            del fields["metadata"]
        if request.stream and not streams_responses(d, model):
            del fields["stream"]
        sent = sent_as(Note(d.id, model, fields, 0))
        return sent._replace(names=fit.names) if fit.names else sent

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        other = super().again(d, model, request, sent, refusal)
        return None if other is None else other._replace(names=sent.names)

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        answer = passing.plain(raw, name)
        if isinstance(answer, Outcome):
            return answer
        body = names_given_back(answer.body, sent.names) if sent.names else answer.body
        return replace(answer, body=body, passed=True)

    def events(self, name: str, request: Completion, sent: Sent) -> Events:
        return PassedEvents(name, sent.names)


class PassingOrChat:
    """Passes requests through, except for models or servers that only have chat completions."""

    def __init__(self, chat: Format, *, drop_params: bool) -> None:
        self._passing = Passing(drop_params=drop_params)
        self._over_chat = OverChat(TRANSLATED, chat, drop_params=drop_params)
        self._chat_only = ChatOnly()
        self._failure = chat.failure
        self.address = chat.address
        self.url = chat.url

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        if not has_api(d, model) or self._chat_only.knows(d, model):
            return self._over_chat.request(d, model, request)
        return self._passing.request(d, model, request)

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        if isinstance(sent.note, AsChat):
            return self._over_chat.again(d, model, request, sent, refusal)
        if not chat_only.may_be(refusal):
            return None if refusal.kind == "not_found" else self._passing.again(d, model, request, sent, refusal)
        if capabilities(d, model).responses == "always":
            return None
        other = self._over_chat.request(d, model, request)
        return other._replace(note=other.note._replace(learns=(d, model)))

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        return self._answering(sent).plain(raw, name, sent)

    def events(self, name: str, request: Completion, sent: Sent) -> Events:
        return self._answering(sent).events(name, request, sent)

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        """An item that the provider does not know is the request's fault, and not the deployment's."""
        outcome = self._failure(status, headers, raw)
        if outcome.kind == "not_found" and _NO_SUCH_ITEM.search(outcome.message):
            return outcome._replace(kind="caller")
        return outcome

    def _answering(self, sent: Sent) -> Format:
        """The format that parses the response. That a server has chat only is remembered once that succeeds."""
        if not isinstance(sent.note, AsChat):
            return self._passing
        if sent.note.learns is not None:
            self._chat_only.learn(*sent.note.learns)
        return self._over_chat


def limit_of(d: Deployment, model: str, request: Completion) -> int | None:
    """The output limit as the model accepts it: the client's, or else the deployment's or the reserved one."""
    can = capabilities(d, model)
    limit = prepare.output_limit(d, can, request.body, request)
    return None if limit is None else max(prepare.fitting(limit, can), LEAST_OF_RESPONSES)


def broken(error: ApiError, events: Events | None) -> bytes:
    """The last events of a stream that failed. `events` is the stream, if the response had begun."""
    outcome = Outcome("rate_limit" if error.status == 429 else "server", error.status, error.message, param=error.param)
    if isinstance(events, PassedEvents | ResponseEvents):
        return events.broken(outcome)
    return failed.events({}, outcome, 0)


class _Translated:
    """An `Api` (over_chat.py)."""

    def chat(self, request: Completion, d: Deployment, model: str, *, drop_params: bool) -> tuple[Completion, Asked]:
        if PREVIOUS in request.body:  # the server has lost the API that the response was made with
            raise Unsupported(PREVIOUS, "This model's server does not store responses. Send the conversation itself.")
        try:
            body, tools = chat(request.body, d, model, drop_params=drop_params)
        except (AttributeError, KeyError, TypeError) as error:
            raise Malformed(
                "input", "The request is not valid for the Responses API: check input and tools."
            ) from error
        limit = request.body.get("max_output_tokens")
        if limit is not None:
            body["max_tokens"] = limit
        optional = tuple(name for name in OPTIONAL if name in body)
        same = repeated(request.body)
        if request.stored is not None:
            same |= {"store": request.stores and request.stored.keeps, PREVIOUS: request.stored.previous_text}
        asked = Asked(same, tools, sealed.family(d, model))
        return replace(request, endpoint=CHAT, body=body, client_wants_usage=False, optional=optional, seen=None), asked

    def response(self, body: Mapping[str, Any], name: str, asked: Asked) -> dict[str, Any]:
        return response(body, name, asked)

    def events(self, inner: Events, name: str, asked: Asked) -> Events:
        return ResponseEvents(inner, name, asked)


TRANSLATED = _Translated()


def _presets(d: Deployment) -> dict[str, Any]:
    """The deployment's presets in this API. Those that only chat has are left out."""
    made: dict[str, Any] = {}
    for name, value in d.presets.items():
        if name == "reasoning_effort":
            made["reasoning"] = {"effort": value} if isinstance(value, str) else value
        elif name == "verbosity":
            made["text"] = {"verbosity": value}
        elif name in FIELDS[ENDPOINT] or name not in FIELDS[CHAT]:
            made[name] = value
    return {name: value for name, value in made.items() if name not in output_limits.NAMES}


def _fit_reasoning(fields: dict[str, Any], d: Deployment, model: str) -> None:
    """Replaces an effort that the model does not accept with the nearest one. A model that does not reason is not asked
    to: agents ask every model.
    """
    asked, efforts = fields.get("reasoning"), capabilities(d, model).efforts
    if efforts is None or not isinstance(asked, dict):
        return
    if not efforts and not gives_reasoning(d, model):
        del fields["reasoning"]
        include = [name for name in fields.pop("include", ()) if name != ENCRYPTED_REASONING]
        if include:
            fields["include"] = include
    elif isinstance(asked.get("effort"), str):
        fitting = reasoning.nearest(asked["effort"], efforts) if efforts else None
        fields["reasoning"] = {**asked, "effort": fitting}


__all__ = [
    "BESIDE",
    "ENDPOINT",
    "STORING",
    "TRANSLATED",
    "Beside",
    "PassedEvents",
    "Passing",
    "PassingOrChat",
    "answered_here",
    "broken",
    "has_api",
    "limit_of",
]
