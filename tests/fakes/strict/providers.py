"""What each OpenAI-compatible provider rejects, from its API reference and public reports."""

import re
from collections.abc import Mapping
from typing import Any

from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

from tests.fakes.strict import refusal as shapes
from tests.fakes.strict.chat import MESSAGE_FIELDS, PART_FIELDS, Chat
from tests.fakes.strict.refusal import Wrong

_ROLES = frozenset({"system", "user", "assistant", "tool"})
_TEXT_AND_PICTURES = {name: PART_FIELDS[name] for name in ("text", "image_url")}
_REASONS = r"^(gpt-5|o\d)"
_THREE = frozenset({"low", "medium", "high"})


def _fields(*names: str) -> frozenset[str]:
    return frozenset(" ".join(names).split())


def _with(role: str, *names: str, less: tuple[str, ...] = ()) -> Mapping[str, frozenset[str]]:
    """OpenAI's message fields, with additional ones for one role and without some for all."""
    known = {of: fields - frozenset(less) for of, fields in MESSAGE_FIELDS.items()}
    return {**known, role: known[role] | frozenset(names)}


def _openai(model: str, body: Mapping[str, Any]) -> None:
    """https://platform.openai.com/docs/guides/reasoning, and errors reported by users."""
    if re.search(_REASONS, model):
        if body.get("temperature") not in (None, 1):
            raise Wrong("temperature", "Only the default (1) value is supported.")
        if body.get("top_p") not in (None, 1):
            raise Wrong("top_p", "Only the default (1) value is supported.")
        if re.search(r"^gpt-5\.[4-9]", model) and body.get("tools") and body.get("reasoning_effort", "none") != "none":
            raise Wrong("tools", "Function tools with reasoning_effort are not supported in /v1/chat/completions.")
    if isinstance(body.get("stop"), list) and len(body["stop"]) > 4:
        raise Wrong("stop", "Invalid 'stop': array too long. Expected an array with maximum length 4.")


def _mistral(model: str, body: Mapping[str, Any]) -> None:
    """https://docs.mistral.ai/capabilities/completion/"""
    last = body["messages"][-1]
    if last["role"] not in ("user", "tool") and not last.get("prefix"):
        raise Wrong("messages", f"Expected last role User or Tool for serving but got {last['role']}")


def _groq(model: str, body: Mapping[str, Any]) -> None:
    """https://console.groq.com/docs/openai#currently-unsupported-openai-features"""
    if body.get("n") not in (None, 1):
        raise Wrong("n", "'n' : number must be at most 1")
    for index, message in enumerate(body["messages"]):
        if message["role"] == "system" and not isinstance(message.get("content"), str):
            raise Wrong(f"messages.{index}.content", "value must be a string")


_OPENAI = Chat(
    fields=frozenset(CompletionCreateParamsStreaming.__annotations__),
    message_fields=MESSAGE_FIELDS,
    roles=_ROLES | {"developer", "function"},
    parts=PART_FIELDS,
    tool_fields=True,
    refused={
        _REASONS: _fields("max_tokens stop presence_penalty frequency_penalty logit_bias logprobs top_logprobs"),
        r"^gpt-4": _fields("reasoning_effort"),
    },
    most={r"^gpt-4o": 16_384, r"^gpt-5": 128_000, r"^o\d": 100_000},
    least={_REASONS: 16},
    call_id="[a-zA-Z0-9_-]{1,40}",
    efforts={
        r"^gpt-5(-mini|-nano)?$": frozenset({"minimal", "low", "medium", "high"}),
        r"^gpt-5\.": frozenset({"none", "low", "medium", "high", "xhigh"}),
        r"^o\d": _THREE,
    },
    check=_openai,
)

CHAT: dict[str, Chat] = {
    "openai": _OPENAI,
    "azure": _OPENAI,
    # https://console.groq.com/docs/api-reference#chat-create
    "groq": Chat(
        fields=_fields(
            "citation_options compound_custom disable_tool_validation documents exclude_domains frequency_penalty",
            "function_call functions include_domains include_reasoning max_completion_tokens max_tokens messages",
            "metadata model n parallel_tool_calls presence_penalty reasoning_effort reasoning_format response_format",
            "search_settings seed service_tier stop store stream stream_options temperature tool_choice tools top_p",
            "user",
        ),
        message_fields=_with("assistant", "reasoning", less=("name", "refusal", "annotations", "audio")),
        roles=_ROLES | {"function"},
        parts=_TEXT_AND_PICTURES,
        efforts={"gpt-oss": _THREE, "llama": frozenset()},
        check=_groq,
    ),
    # https://docs.mistral.ai/api/endpoint/chat
    "mistral": Chat(
        fields=_fields(
            "frequency_penalty guardrails max_tokens messages metadata model n parallel_tool_calls prediction",
            "presence_penalty prompt_cache_key prompt_mode random_seed reasoning_effort response_format safe_prompt",
            "stop stream temperature tool_choice tools top_p",
        ),
        message_fields={
            "system": _fields("role content"),
            "user": _fields("role content"),
            "assistant": _fields("role content tool_calls prefix"),
            "tool": _fields("role content tool_call_id name"),
        },
        parts={**_TEXT_AND_PICTURES, "input_audio": PART_FIELDS["input_audio"], "thinking": _fields("type thinking")},
        tool_fields=True,
        call_id="[a-zA-Z0-9]{9}",
        check=_mistral,
        error=shapes.mistral,
    ),
    # https://api-docs.deepseek.com/api/create-chat-completion and /guides/thinking_mode#tool-calls; others are ignored
    "deepseek": Chat(
        most={"": 65_536},
        texts_only=True,
        reasoning="reasoner|v4",
    ),
    # https://docs.together.ai/reference/chat-completions-1
    "together_ai": Chat(tool_name=".{1,128}"),
    # https://docs.fireworks.ai/api-reference/post-chatcompletions
    "fireworks_ai": Chat(
        fields=_fields(
            "context_length_exceeded_behavior echo frequency_penalty function_call functions ignore_eos logit_bias",
            "logprobs max_completion_tokens max_tokens messages metadata min_p mirostat_lr mirostat_target model n",
            "parallel_tool_calls perf_metrics_in_response prediction presence_penalty prompt_cache_isolation_key",
            "prompt_cache_key prompt_truncate_len reasoning_effort reasoning_history repetition_penalty",
            "response_format safe_tokenization seed service_tier speculation stop stream stream_options temperature",
            "thinking tool_choice tools top_k top_logprobs top_p typical_p user",
        ),
        message_fields=_with("assistant", "reasoning_content"),
        roles=_ROLES | {"developer"},
        parts={**_TEXT_AND_PICTURES, "video_url": _fields("type video_url")},
    ),
    # https://docs.x.ai/docs/guides/reasoning
    "xai": Chat(
        refused={
            r"^grok-(4|3-mini)": _fields("presence_penalty frequency_penalty stop"),
            r"^grok-4(?!\.)": _fields("reasoning_effort"),
        },
        efforts={r"^grok-3-mini": frozenset({"low", "high"})},
        error=shapes.xai,
    ),
    # https://docs.perplexity.ai/api-reference/chat-completions-post
    "perplexity": Chat(refused={"": _fields("tools tool_choice functions")}, alternates=True),
    # https://inference-docs.cerebras.ai/api-reference/chat-completions
    "cerebras": Chat(
        fields=_fields(
            "clear_thinking disable_reasoning frequency_penalty logit_bias logprobs max_completion_tokens max_tokens",
            "messages min_completion_tokens min_tokens model parallel_tool_calls prediction presence_penalty",
            "prompt_cache_key queue_threshold reasoning_effort reasoning_format response_format seed service_tier",
            "stop stream stream_options temperature tool_choice tools top_logprobs top_k top_p user",
        ),
        message_fields=_with("assistant", "reasoning", less=("annotations", "audio")),
        parts=_TEXT_AND_PICTURES,
        tool_fields=True,
        efforts={"gpt-oss": _THREE, "llama": frozenset()},
        error=shapes.bare,
    ),
    # https://docs.nvidia.com/nim/large-language-models/latest/api-reference.html
    "nvidia_nim": Chat(
        fields=_fields(
            "bad echo frequency_penalty ignore_eos logit_bias logprobs max_completion_tokens max_tokens messages",
            "min_tokens model n nvext parallel_tool_calls presence_penalty repetition_penalty response_format seed",
            "stop stream stream_options temperature tool_choice tools top_k top_logprobs top_p user",
        ),
        tool_name=".{1,256}",
        error=shapes.fastapi,
    ),
    # https://deepinfra.com/docs/openai_api
    "deepinfra": Chat(parts={**_TEXT_AND_PICTURES, "input_audio": PART_FIELDS["input_audio"]}, error=shapes.fastapi),
    # https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html: the model's template knows the roles
    "hosted_vllm": Chat(tool_name=".{1,256}", parts={**PART_FIELDS, "video_url": _fields("type video_url")}),
    # A server that has /v1/chat/completions and nothing else, such as many that people write themselves.
    "chat_only": Chat(parts=_TEXT_AND_PICTURES, tool_fields=True),
    # https://openrouter.ai/docs/api-reference/chat-completion
    "openrouter": Chat(
        roles=_ROLES | {"developer"},
        parts={**PART_FIELDS, "text": _fields("type text cache_control")},
        call_id="[a-zA-Z0-9_-]{1,64}",
    ),
}
