"""Parses and validates a request of OpenAI's Responses API. `stored_input` has what it refers to.

https://platform.openai.com/docs/api-reference/responses/create
"""

from collections.abc import Callable, Mapping
from typing import Any

from worker.core.api.errors import invalid_request
from worker.core.values import claims

from ..config.deployment import OUTPUT_LIMITS, lowest_limit
from . import engine_body
from .authority import forbidden, refuse_forbidden
from .completion import CHECKS, OWN_FIELDS, Completion, drop_labels, name_user, named_model, parse_object, routed

ENDPOINT = "responses"
_LIMIT = "max_output_tokens"
_MOST_METADATA = 16
# Fields that need no check by name.
_KNOWN = engine_body.FIELDS[ENDPOINT] | {name for name in OWN_FIELDS if not forbidden((name,))}


def parse_responses(raw: bytes, endpoint: str = ENDPOINT) -> Completion:
    """`endpoint`: this one, or one beside it. Raises ApiError 400 that names the field."""
    body = parse_object(raw)
    claimed = claims.of_body(body)
    if None in body.values():
        body = {name: value for name, value in body.items() if value is not None}
    if not body.keys() <= _KNOWN:
        drop_labels(body)
        refuse_forbidden(body)
    name_user(body)
    model = named_model(body.get("model"))
    for name, value in body.items():
        check = _CHECKS.get(name)
        wanted = check(value) if check else None
        if wanted:
            raise invalid_request(f"'{name}' has to be {wanted}.", param=name)
    own = {name: body.pop(name, None) for name in OWN_FIELDS}
    _keep_one_limit(body)
    if not body.keys() <= engine_body.FIELDS[endpoint]:
        _leave_out_others(endpoint, body)
    if "metadata" in body:
        body["metadata"] = _texts_only(body["metadata"])
    refuse_shared(body)
    stream = bool(body.get("stream"))
    route = routed(model, len(raw), own, stream=stream)
    return Completion(
        endpoint, body, model, stream, False, route, own["timeout"], cache=own["cache"] or {}, claims=claimed
    )


def _leave_out_others(endpoint: str, body: dict[str, Any]) -> None:
    """Removes unknown fields. Raises ApiError 400 if the client would expect one of them to have an effect."""
    foreign = engine_body.foreign_fields(endpoint, body)
    believed = engine_body.believed_field(foreign)
    if believed:
        raise invalid_request(engine_body.why_refused(believed), param=believed)
    for name in foreign:
        del body[name]


def _keep_one_limit(body: dict[str, Any]) -> None:
    """Sends the lowest of the output limits, whatever the client calls it."""
    names = OUTPUT_LIMITS.intersection(body)
    if not names:
        return
    limit = lowest_limit(body)
    for name in names:
        del body[name]
    if limit is not None:
        body[_LIMIT] = limit


def _texts_only(metadata: Any) -> dict[str, str]:
    """The metadata that OpenAI accepts. LiteLLM's clients use the field for labels such as `{"tags": […]}` as well.

    https://platform.openai.com/docs/api-reference/responses/create#responses-create-metadata
    """
    given = metadata if isinstance(metadata, dict) else {}
    found = {name: value for name, value in given.items() if isinstance(value, str)}
    return found if len(found) <= _MOST_METADATA else {}


def _said(value: Any) -> str | None:
    if isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, dict) for one in value)):
        return None
    return "a string or an array of items"


def _tools(value: Any) -> str | None:
    if isinstance(value, list) and all(isinstance(t, dict) and isinstance(t.get("type"), str) for t in value):
        return None
    return "an array of tools, each with a 'type'"


def _list(value: Any) -> str | None:
    return None if isinstance(value, list) else "an array of strings"


_CHECKS: Mapping[str, Callable[[Any], str | None]] = {
    "input": _said,
    "instructions": _said,
    "tools": _tools,
    "text": CHECKS["metadata"],
    "reasoning": CHECKS["metadata"],
    "include": _list,
    "stream": CHECKS["stream"],
    "n": CHECKS["n"],
    **{name: CHECKS[name] for name in OWN_FIELDS},
}

# What belongs to the provider's account, which all keys share, or is billed after the request has ended.
_REFUSED = {
    "background": "'background' is not supported. Leave it out, and stream the response if it takes long.",
    "conversation": "'conversation' is not supported. Use 'previous_response_id', or send the conversation as 'input'.",
    "prompt": "'prompt' is not supported: stored prompts belong to the provider's account. Send 'instructions'.",
}
ENCRYPTED_REASONING = "reasoning.encrypted_content"


def refuse_shared(fields: Mapping[str, Any]) -> None:
    """Raises ApiError 400 that names the field if the request uses what is not the key's own."""
    for name, message in _REFUSED.items():
        if fields.get(name) not in (None, False):
            raise invalid_request(message, param=name)


def without_storage(fields: dict[str, Any]) -> dict[str, Any]:
    """Adapt a request for a provider that stores nothing.

    Reasoning is returned encrypted, unless the client itself disabled storage. Reasoning items that only name a stored
    item are removed.
    """
    made = {**fields, "store": False}
    include = fields.get("include")
    if fields.get("store") is not False and (include is None or isinstance(include, list)):
        made["include"] = list(dict.fromkeys([*(include or ()), ENCRYPTED_REASONING]))
    items = fields.get("input")
    if isinstance(items, list) and any(map(_is_empty_reasoning, items)):
        made["input"] = [item for item in items if not _is_empty_reasoning(item)]
    return made


def _is_empty_reasoning(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and item.get("type") == "reasoning"
        and not item.get("encrypted_content")
        and str(item.get("id", "")).startswith("rs_")
    )
