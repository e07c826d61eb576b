"""Parses and validates a request of Anthropic's Messages API."""

import re
from typing import Any

from worker.core.api.errors import invalid_request
from worker.core.values import claims

from ..config.deployment import OUTPUT_LIMITS
from .authority import DEARER, refusal, refuse_forbidden
from .completion import CHECKS, OWN_FIELDS, Completion, drop_labels, name_user, named_model, parse_object, routed

# Feature names in the `anthropic-beta` header. Clients may not use those that open the account's files and skills,
# change the identity, or cost more.
_BETA = re.compile(r"(?!files-api|skills|oauth|fast-mode)[a-z0-9.-]{1,64}")
_MOST_BETAS = 20
# A translation could use these as its output limit, and pricing could read them as the number of choices, although the
# deployment's preset is what is sent.
_FOREIGN = (OUTPUT_LIMITS - {"max_tokens"}) | {"n", "best_of"}


def parse_messages(endpoint: str, raw: bytes, betas: str) -> Completion:
    """`endpoint`: `messages` or `count_tokens`. `betas`: the client's header. Raises ApiError 400 that names the
    field."""
    body = parse_object(raw)
    claimed = claims.of_body(body)
    drop_labels(body)
    name_user(body)
    body.pop("stream_options", None)  # an OpenAI field; Anthropic's streams report usage anyway
    refuse_forbidden(body)
    if body.get("speed") == "standard":  # the default, at the normal price
        del body["speed"]
    for name in DEARER.intersection(body):
        raise refusal(name)
    for name in _FOREIGN.intersection(body):
        del body[name]
    model = named_model(body.get("model"))
    for name, value in body.items():
        if value is not None:
            _check(name, value)
    for name in ("messages",) if endpoint == "count_tokens" else ("messages", "max_tokens"):
        if body.get(name) is None:
            raise invalid_request(f"'{name}' is missing.", param=name)
    own = {name: body.pop(name, None) for name in OWN_FIELDS}
    # LiteLLM's proxy would trust the rest of the metadata.
    metadata = body.pop("metadata", None)
    if metadata and isinstance(metadata.get("user_id"), str):
        body["metadata"] = {"user_id": metadata["user_id"]}
    stream = endpoint == "messages" and bool(body.get("stream"))
    route = routed(model, len(raw), own, stream=stream)
    return Completion(endpoint, body, model, stream, False, route, own["timeout"], betas=_known(betas), claims=claimed)


def _check(name: str, value: Any) -> None:
    wanted = None
    if name == "system":
        blocks = isinstance(value, list) and all(isinstance(b, dict) for b in value)
        wanted = None if isinstance(value, str) or blocks else "a string or an array of text blocks"
    elif name == "stop_sequences":
        texts = isinstance(value, list) and all(isinstance(t, str) for t in value)
        wanted = None if texts else "an array of strings"
    elif name in ("tool_choice", "thinking"):
        wanted = None if isinstance(value, dict) else "an object"
    elif name in CHECKS and name != "stop":
        wanted = CHECKS[name](value)
    if wanted:
        raise invalid_request(f"'{name}' has to be {wanted}.", param=name)


def _known(betas: str) -> str:
    named = [beta.strip() for beta in betas.split(",")]
    return ",".join([beta for beta in named if _BETA.fullmatch(beta)][:_MOST_BETAS])
