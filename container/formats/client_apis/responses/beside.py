"""`/responses/compact` and `/responses/input_tokens`, which OpenAI has beside `/responses`.

https://platform.openai.com/docs/api-reference/responses/compact
"""

import orjson

from worker.core.pricing.estimate import prompt

from ....config.deployment import Deployment
from ....config.model_routes import split_route
from ....config.prices import tokenizer
from ....request.completion import Completion, encode
from ....routing.outcome import Outcome
from ...responses import Responses, answer
from ...shared import prepare
from ...shared.answer import Plain, json_object
from ...shared.format import Sent, Unsupported
from . import fitted

COMPACT, INPUT_TOKENS = "compact", "input_tokens"
ENDPOINTS = frozenset((COMPACT, INPUT_TOKENS))
_PROVIDERS = frozenset(("openai", "azure"))
# Counted for a picture whose size is not known.
_PICTURE = 1000


class Beside(Responses):
    """Passes the client's request through, with our credentials and the provider's model name."""

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str:
        return prepare.url(d, base, model, endpoint)

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        fields = {**request.body, "model": split_route(d.provider, model)[1]}
        fit = fitted.fitted(d, model, fields)
        fields.update(fit.fields)
        return Sent(encode({name: value for name, value in fields.items() if name not in fit.dropped}))

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> None:
        return None

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        body = json_object(raw)
        if isinstance(body, Outcome):
            return body
        if isinstance(body.get("output"), list):
            return Plain(raw, answer.usage(body.get("usage"), body["output"]), passed=True)
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
