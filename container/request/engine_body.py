"""Parses the bodies of the engine's endpoints: JSON, or multipart forms with files. `ParsedRequest` is a parsed request
of any endpoint.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from python_multipart import multipart
from python_multipart.exceptions import FormParserError

from worker.core.api.endpoints import Endpoint
from worker.core.api.errors import invalid_request
from worker.core.pricing.estimate import Prompt
from worker.core.pricing.prices import Charge
from worker.core.values import claims

from ..config.deployment import OUTPUT_LIMITS
from ..routing.router import RouteRequest
from .authority import refuse_forbidden
from .completion import (
    BYTES_PER_TOKEN,
    CHECKS,
    LABELS,
    TRACKING,
    Completion,
    drop_labels,
    encode,
    name_user,
    named_model,
    parse_object,
)

_CHAT = """
    model messages stream stream_options temperature top_p n stop seed user metadata store tools tool_choice
    parallel_tool_calls functions function_call response_format logprobs top_logprobs logit_bias presence_penalty
    frequency_penalty max_tokens max_completion_tokens tags reasoning_effort verbosity modalities audio prediction
    moderation service_tier safety_identifier prompt_cache_key prompt_cache_options prompt_cache_retention
    web_search_options top_k min_p top_a typical_p repetition_penalty thinking reasoning include_reasoning safe_prompt
    safety_settings documents guided_json guided_regex guided_choice guided_grammar structured_outputs
    chat_template_kwargs enable_thinking
"""
_COMPLETION = """
    model prompt suffix stream stream_options temperature top_p n best_of echo stop seed user metadata tags logprobs
    logit_bias presence_penalty frequency_penalty max_tokens max_completion_tokens top_k min_p repetition_penalty
"""
_EMBEDDING = """
    model input dimensions encoding_format user metadata tags input_type truncate task_type embedding_types
"""
_COUNTED = """
    model messages system tools tool_choice thinking output_config output_format cache_control context_management
    mcp_servers metadata
"""
_MESSAGE = f"{_COUNTED} max_tokens stream temperature top_p top_k stop_sequences container service_tier"
_RESPONSE = """
    model input instructions stream stream_options temperature top_p tools tool_choice parallel_tool_calls
    max_output_tokens max_tool_calls reasoning text truncation include top_logprobs user metadata moderation store
    service_tier safety_identifier prompt_cache_key prompt_cache_options prompt_cache_retention context_management
    background conversation previous_response_id prompt
"""
_COMPACTED = """
    model input instructions previous_response_id prompt_cache_key prompt_cache_options prompt_cache_retention
    service_tier
"""
_RESPONSE_COUNTED = """
    model input instructions previous_response_id tools tool_choice parallel_tool_calls reasoning text truncation
    conversation
"""
_PICTURE = """
    model prompt n size quality style background moderation output_format output_compression response_format
    partial_images stream user metadata
"""
_EDIT = f"{_PICTURE} image mask input_fidelity"
_HEARD = """
    model file prompt language languages keywords response_format temperature timestamp_granularities include
    chunking_strategy known_speaker_names known_speaker_references stream metadata
"""
_SPEECH = "model input voice instructions response_format speed stream_format metadata"
_RERANK = """
    model query documents top_n return_documents rank_fields max_chunks_per_doc max_tokens_per_doc metadata
"""
# Keyed by endpoint name, see worker/core/api/endpoints.py.
FIELDS: Mapping[str, frozenset[str]] = {
    name: frozenset(fields.split())
    for name, fields in (
        ("chat_completions", _CHAT),
        ("completions", _COMPLETION),
        ("embeddings", _EMBEDDING),
        ("messages", _MESSAGE),
        ("count_tokens", _COUNTED),
        ("responses", _RESPONSE),
        ("compact", _COMPACTED),
        ("input_tokens", _RESPONSE_COUNTED),
        ("image_generation", _PICTURE),
        ("image_edit", _EDIT),
        ("image_variation", _EDIT),
        ("speech", _SPEECH),
        ("transcription", _HEARD),
        ("translation", _HEARD),
        ("rerank", _RERANK),
        ("moderations", "model input metadata"),
    )
}


_TELLING = re.compile(
    r"(?:^|[_-])(?:ur[il]s?|host(?:name)?s?|endpoints?|prox(?:y|ies)|credentials?|secrets?|passwords?|keys?|accounts?"
    r"|projects?|regions?|profiles?|arns?|buckets?)(?:$|[_-])"
    r"|(?:^|_)(?:num|max|n)_?(?:generations|return_sequences|outputs|samples|candidates|beams|images|results)$"
    r"|(?:sample|candidate|image|output|result)_?count$|^(?:best_of|chat_history|preamble|prompt|system|history)$",
    re.IGNORECASE,
)
_LIMITED = ("chat_completions", "completions")


def foreign_fields(endpoint: str, names: Iterable[str]) -> list[str]:
    """Return the fields to withhold from the engine.

    A chat's output limit is passed on under one name, whichever it had: see `container.formats.shared.wire.merge`.
    """
    known = FIELDS[endpoint] | OUTPUT_LIMITS if endpoint in _LIMITED else FIELDS[endpoint]
    return [name for name in names if name not in known]


def believed_field(names: Iterable[str]) -> str | None:
    """Return the first withheld field that a client would expect to have an effect, or None.

    Examples are an address, a credential, more choices or another prompt. All other fields may be dropped silently.
    """
    return next((name for name in names if name not in LABELS and _TELLING.search(name)), None)


def why_refused(name: str) -> str:
    """The error message for such a field."""
    return f"'{name}' is not passed on to this model: the gateway does not know what it would do there."


def check(endpoint: str, fields: Mapping[str, Any]) -> None:
    """`endpoint`: its name in worker/core/api/endpoints.py. Raises ApiError 400 that names the field."""
    for name, (fits, wanted) in _SHAPES.get(endpoint, {}).items():
        if fields.get(name) is not None and not fits(fields[name]):
            raise invalid_request(f"'{name}' has to be {wanted}.", param=name)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


_TEXT = (_is_text, "a string")
_SHAPES: Mapping[str, Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "image_generation": {"prompt": _TEXT},
    "speech": {"input": _TEXT},
    "moderations": {"input": (lambda value: isinstance(value, str | list), "a string or an array")},
    "rerank": {"query": _TEXT, "documents": (_is_list, "an array")},
}


# Form fields that determine routing or price.
_SINGLE = ("model", "n")
# OpenAI's default: https://platform.openai.com/docs/api-reference/moderations/create#moderations-create-model
_MODERATES = "omni-moderation-latest"
_OWN_FIELDS = ("disable_fallbacks", "fallbacks", "num_retries", "timeout")


def read_body(endpoint: Endpoint, raw: bytes, content_type: str) -> "JsonBody | FormBody":
    """Raises ApiError 400 if the body cannot be parsed, names no model, or has a forbidden field."""
    if content_type.lower().startswith("multipart/form-data"):
        return FormBody(endpoint, raw, content_type)
    return JsonBody(endpoint, raw)


class JsonBody:
    content_type = "application/json"

    def __init__(self, endpoint: Endpoint, raw: bytes) -> None:
        fields = parse_object(raw)
        self.claims = claims.of_body(fields)
        drop_labels(fields)
        name_user(fields)
        refuse_forbidden(fields)
        if endpoint.name == "moderations" and fields.get("model") is None:
            fields["model"] = _MODERATES
        self.model = named_model(fields.get("model"))
        wanted = CHECKS["n"](fields["n"]) if fields.get("n") is not None else None  # priced per item
        if wanted:
            raise invalid_request(f"'n' has to be {wanted}.", param="n")
        if endpoint.name == "speech" and fields.get("input") is None:  # priced per character
            raise invalid_request("'input' has to be a string.", param="input")
        check(endpoint.name, fields)
        for name in _OWN_FIELDS:
            fields.pop(name, None)
        fields.pop("metadata", None)  # LiteLLM's proxy would trust it
        for name in _foreign(endpoint, fields):
            del fields[name]
        self.route = RouteRequest(self.model, tokens=len(raw) // BYTES_PER_TOKEN, stream=bool(fields.get("stream")))
        self._fields: dict[str, Any] = fields

    @property
    def fields(self) -> dict[str, Any]:
        """The fields to send upstream, except the model's name."""
        return self._fields

    def for_model(self, name: str) -> bytes:
        """Encode the body for a deployment."""
        return encode({**self._fields, "model": name})


class FormBody:
    """multipart/form-data (RFC 7578), for audio and images. `response_format` is the form's value."""

    def __init__(self, endpoint: Endpoint, raw: bytes, content_type: str) -> None:
        self._boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={self._boundary}"
        parts: list[tuple[str, bytes]] = []  # headers and content of every part except the model's
        models: list[str] = []

        counts: list[str] = []
        said: dict[str, str] = {}
        self.response_format: str | None = None
        ended: list[bool] = []

        def on_field(field: multipart.Field) -> None:
            name = _name(field.field_name)
            if name in claims.FIELDS:
                said[name] = (field.value or b"").decode("utf-8", "replace")
            if name == "model":
                models.append((field.value or b"").decode("utf-8", "replace"))
            elif name == "n":
                counts.append((field.value or b"").decode("utf-8", "replace"))
                parts.append(('content-disposition: form-data; name="n"', field.value or b""))
            elif not _is_ours(name) and not _foreign(endpoint, (name.partition("[")[0],)):
                if name == "response_format":
                    self.response_format = (field.value or b"").decode("utf-8", "replace")
                parts.append((f'content-disposition: form-data; name="{name}"', field.value or b""))

        def on_file(file: multipart.File) -> None:
            name = _name(file.field_name)
            if name == "model":
                raise invalid_request("'model' has to be a string, not a file.", param="model")
            if _is_ours(name) or _foreign(endpoint, (name.partition("[")[0],)):
                return
            file_name = _harmless((file.file_name or b"file").decode("utf-8", "replace"))
            file.file_object.seek(0)
            head = f'content-disposition: form-data; name="{name}"; filename="{file_name}"'
            kind = _harmless(file.content_type or "application/octet-stream")
            parts.append((f"{head}\r\ncontent-type: {kind}", file.file_object.read()))

        try:
            kind, options = multipart.parse_options_header(content_type)
            parser = multipart.FormParser(
                kind.decode("latin-1"),
                on_field,
                on_file,
                on_end=lambda: ended.append(True),
                boundary=options.get(b"boundary"),
                config={"MAX_MEMORY_FILE_SIZE": len(raw) + 1, "UPLOAD_ERROR_ON_BAD_CTE": True},
            )
            parser.write(raw)
            parser.finalize()
        except (FormParserError, ValueError) as error:
            raise invalid_request(f"The form cannot be read: {error}.") from None
        if not ended:
            raise invalid_request("The form ends before its final boundary.")
        if len(models) > 1:
            raise invalid_request("'model' occurs more than once in the form.", param="model")
        self.model = named_model(models[0] if models else None)
        self.claims = claims.of_body(said)
        self.count = _form_count(counts)
        self.route = RouteRequest(self.model)
        self._rest = b"".join(self._part(head, content) for head, content in parts)

    def for_model(self, name: str, limit: int | None = None, *, reasons: bool = False) -> bytes:
        model = self._part('content-disposition: form-data; name="model"', name.encode())
        return model + self._rest + f"--{self._boundary}--\r\n".encode()

    def _part(self, head: str, content: bytes) -> bytes:
        return f"--{self._boundary}\r\n{head}\r\n\r\n".encode() + content + b"\r\n"


def _name(raw: bytes | None) -> str:
    """Return the name of a part. Raises ApiError 400 for a name that is forbidden or that LiteLLM could read
    differently.

    LiteLLM takes `name[]` and `name[key]` for parts of `name`.
    """
    name = (raw or b"").decode("utf-8", "replace")
    if _harmless(name) != name:
        raise invalid_request("A field name of the form contains quotes or control characters.")
    whole = name.partition("[")[0]
    if whole not in TRACKING:
        refuse_forbidden((whole,))
    if whole in _SINGLE and whole != name:
        raise invalid_request(f"'{whole}' cannot be a list.", param=whole)
    return name


def _foreign(endpoint: Endpoint, names: Iterable[str]) -> list[str]:
    """Return the fields to withhold from the engine. Raises ApiError 400 if the client would expect one of them to have
    an effect."""
    foreign = foreign_fields(endpoint.name, names)
    believed = believed_field(foreign) if foreign else None
    if believed:
        raise invalid_request(why_refused(believed), param=believed)
    return foreign


def _is_ours(name: str) -> bool:
    whole = name.partition("[")[0]
    return whole in _OWN_FIELDS or whole == "metadata" or whole in TRACKING


def _form_count(values: list[str]) -> int:
    """Return the number of items that the form requests. Raises ApiError 400."""
    if not values:
        return 1
    if len(values) > 1 or not values[0].isascii() or not values[0].isdigit() or not 0 < int(values[0][:9]) <= 100:
        raise invalid_request("'n' has to be a whole number from 1 to 100.", param="n")
    return int(values[0][:9])


def _harmless(text: str) -> str:
    """Remove characters that are not allowed in a quoted header value."""
    return "".join(c for c in text if c.isprintable() and c not in '"\\')


Request = Completion | JsonBody | FormBody


class ParsedRequest(NamedTuple):
    """`fields` and `charge` determine the price. `prompt` is its size, or None before it is estimated."""

    request: Request
    fields: Mapping[str, Any]
    charge: Charge
    prompt: Prompt | None = None
