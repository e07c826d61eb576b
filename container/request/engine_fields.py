"""The request fields that are passed on to LiteLLM, by endpoint.

LiteLLM and its hundred providers read addresses, credentials, limits and prompts from request fields, under names that
nobody could list. Therefore only the fields below reach the engine: those of the OpenAI, Anthropic and Cohere APIs, and
fields that shape a response without making it longer or more expensive. Presets from the operator's config are not
filtered.
"""

import re
from collections.abc import Iterable, Mapping

from ..config import output_limits
from .client_fields import LABELS

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


def foreign(endpoint: str, names: Iterable[str]) -> list[str]:
    """Return the fields to withhold from the engine.

    A chat's output limit is passed on under one name, whichever it had: see `container.formats.shared.prepare.merge`.
    """
    known = FIELDS[endpoint] | output_limits.NAMES if endpoint in _LIMITED else FIELDS[endpoint]
    return [name for name in names if name not in known]


def believed(names: Iterable[str]) -> str | None:
    """Return the first withheld field that a client would expect to have an effect, or None.

    Examples are an address, a credential, more choices or another prompt. All other fields may be dropped silently.
    """
    return next((name for name in names if name not in LABELS and _TELLING.search(name)), None)


def explained(name: str) -> str:
    """The error message for such a field."""
    return f"'{name}' is not passed on to this model: the gateway does not know what it would do there."
