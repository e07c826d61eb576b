"""OpenAI's Responses API for clients.

Requests are passed through to providers that have this API. For all others they are translated to chat completions.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from worker.core.api.errors import ApiError
from worker.core.pricing.estimate import prompt
from worker.core.pricing.prices import LEAST_OF_RESPONSES

from ....config.deployment import OUTPUT_LIMITS, Deployment, split_route, tokenizer
from ....request.client_apis import ENCRYPTED_REASONING, without_storage
from ....request.client_apis import RESPONSES as ENDPOINT
from ....request.completion import Completion, encode
from ....request.engine_body import FIELDS
from ....request.stored_input import PREVIOUS
from ....routing.health import Outcome
from ...responses import Note, Responses, sent_as
from ...responses.answer import usage
from ...shared import failure, reasoning, wire
from ...shared.capabilities import capabilities, gives_reasoning, served, streams_responses
from ...shared.tool_identifiers import names_given_back
from ...shared.wire import Events, Format, Malformed, Plain, Sent, Unsupported, json_object
from ..over_chat import CHAT, AsChat, OverChat
from .answer import Asked, ResponseEvents, failed_events, repeated_fields, response
from .passed import PassedEvents, fitted, passed_response
from .request import OPTIONAL, chat, family

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
        fit = fitted(d, model, fields)
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
        answer = passed_response(raw, name)
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
        if not may_lack_responses(refusal):
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
    limit = wire.output_limit(d, can, request.body, request)
    return None if limit is None else max(wire.fitting(limit, can), LEAST_OF_RESPONSES)


def broken(error: ApiError, events: Events | None) -> bytes:
    """The last events of a stream that failed. `events` is the stream, if the response had begun."""
    outcome = Outcome("rate_limit" if error.status == 429 else "server", error.status, error.message, param=error.param)
    if isinstance(events, PassedEvents | ResponseEvents):
        return events.broken(outcome)
    return failed_events({}, outcome, 0)


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
        same = repeated_fields(request.body)
        if request.stored is not None:
            same |= {"store": request.stores and request.stored.keeps, PREVIOUS: request.stored.previous_text}
        asked = Asked(same, tools, family(d, model))
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
    return {name: value for name, value in made.items() if name not in OUTPUT_LIMITS}


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


# `/responses/compact` and `/responses/input_tokens`, which OpenAI has beside `/responses`.
# https://platform.openai.com/docs/api-reference/responses/compact

COMPACT, INPUT_TOKENS = "compact", "input_tokens"
BESIDE = frozenset((COMPACT, INPUT_TOKENS))
_PROVIDERS = frozenset(("openai", "azure"))
# Counted for a picture whose size is not known.
_PICTURE = 1000


class Beside(Responses):
    """Passes the client's request through, with our credentials and the provider's model name."""

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        return wire.url(d, base, model, endpoint)

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        fields = {**request.body, "model": split_route(d.provider, model)[1]}
        fit = fitted(d, model, fields)
        fields.update(fit.fields)
        return Sent(encode({name: value for name, value in fields.items() if name not in fit.dropped}))

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> None:
        return None

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        body = json_object(raw)
        if isinstance(body, Outcome):
            return body
        if isinstance(body.get("output"), list):
            return Plain(raw, usage(body.get("usage"), body["output"]), passed=True)
        if isinstance(body.get("input_tokens"), int):
            return Plain(raw, None)
        return Outcome("server", 0, "The provider's response has neither output nor a token count.")


def answered_here(d: Deployment, model: str, request: Completion) -> Plain | None:
    """Our own estimate of the tokens, for a provider that does not count them. None if the request is passed on. Raises
    Unsupported if it needs a provider that has this endpoint.
    """
    if d.kind == "direct" and d.format == "openai" and d.provider in _PROVIDERS:
        return None
    if request.endpoint == COMPACT:
        raise Unsupported("model", "This model's provider cannot compact a conversation.")
    size = prompt(request.body)
    tokens = size.tokens(tokenizer(d, model)) + _PICTURE * (size.images + len(size.unbounded))
    return Plain(orjson.dumps({"object": "response.input_tokens", "input_tokens": tokens}), None)


# Servers without the Responses API. Many OpenAI-compatible servers return 404 for it.

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


def may_lack_responses(refusal: Outcome) -> bool:
    """Whether a refusal of `/responses` may mean that the endpoint is missing, and not the model or something in the
    request.
    """
    if refusal.status != _NOT_FOUND:
        return refusal.status in _NO_SUCH_PAGE
    said = refusal.message.lower()
    if failure.says_no_such_model(refusal.code or "", said):
        return False
    return refusal.kind == "not_found" or _PAGE.search(said) is not None
