"""Intended differences from LiteLLM, with reasons. docs/migration.md lists the reasons."""

from fnmatch import fnmatchcase
from typing import NamedTuple

from .compare import Difference

CHAT, MESSAGES = "chat_completions", "messages"


class Accepted(NamedTuple):
    """An intended difference.

    `fields`, `targets` and `cases` are `fnmatch` patterns, separated by `|`. For a request that LiteLLM rejects,
    `fields` matches its error message. `kinds` are values of `compare.Kind`, also separated by `|`.
    """

    reason: str
    kinds: str
    fields: str
    targets: str = "*"
    cases: str = "*"
    endpoint: str = "*"

    def covers(self, found: Difference) -> bool:
        return (
            self.endpoint in ("*", found.endpoint)
            and _matches(found.kind, self.kinds)
            and _matches(found.field, self.fields)
            and _matches(found.target, self.targets)
            and _matches(found.case, self.cases)
        )


def _matches(value: str, patterns: str) -> bool:
    return patterns == "*" or any(
        fnmatchcase(value, pattern.replace("[]", "[[][]]")) for pattern in patterns.split("|")
    )


_OTHERWISE = "added|missing|changed"
_OLLAMA = "ollama/*|ollama_chat/*"
_GEMINI = "gemini/*|vertex_ai/gemini*"
_CLAUDE = "anthropic/*|vertex_ai/claude*"
_OPENAI = "openai/*|azure/*"
_THINKING = "*thinking*|*effort*|output_config*"
_LABELS = "*'store'*|*'safety_identifier'*|*'prompt_cache_key'*|*'user'*|*'metadata'*"

# The reasons, as listed in docs/migration.md.
_FAULTS = "LiteLLM fails, or loses part of the request"
_WORDS = "the same meaning in a different form"
_NATIVE = "LiteLLM calls a different API of the provider (Ollama's native API, DeepSeek's Anthropic API, `/responses`)"
_NOTHING = "fields that request nothing or only label a request are omitted, where LiteLLM rejects or forwards them"
_SAFE = "fields that a provider rejects are omitted with `drop_params`, and otherwise cause a 400 that names the field"
_LIMITS = "the output limit uses the field name that every server knows, and is capped at the model's maximum"
_EFFORTS = "a reasoning effort becomes the nearest one the model has, and is omitted for models without reasoning"
_IDS = "tool call IDs and reasoning from other providers are converted to what this provider accepts"
_USAGE = "streams always request usage, which determines the cost"
_ROLES = "roles are kept where the provider knows them"
_CLAUDES = "Anthropic's own fields and tools are sent only to Claude"
_PASSED = "fields that the provider supports and LiteLLM omits are forwarded"
_SCHEMAS = "a JSON schema is sent as a schema, not as a tool call"

ACCEPTED: tuple[Accepted, ...] = (
    # Faults
    Accepted(_FAULTS, "refused there", "BadRequestError: Unmapped LLM provider*", "openai_like/*"),
    Accepted(_FAULTS, "refused there", "InternalServerError*", "custom_openai/*"),
    Accepted(_FAULTS, "refused there", "*WebSearchOptions*", cases="nulls", endpoint=CHAT),
    Accepted(_FAULTS, "refused there", "nobody was asked", _GEMINI, "stream*"),
    Accepted(_FAULTS, "refused there", "APIConnectionError*", _OLLAMA, "history: *"),
    Accepted(_FAULTS, "refused there", "*fetch image*", "gemini/*|ollama/*", "history: picture by address", MESSAGES),
    Accepted(
        _FAULTS, "missing", "contents[].parts[].functionCall.args.type", _GEMINI, "history: tool arguments empty", CHAT
    ),
    Accepted(_FAULTS, "changed", "contents[].parts", _GEMINI, "history: two calls", CHAT),
    Accepted(_FAULTS, "changed", "messages", "mistral/*", "history: tool result *"),
    Accepted(
        _FAULTS, _OTHERWISE, "messages*|contents*", cases="history: document*|history: server tool", endpoint=MESSAGES
    ),
    Accepted(_FAULTS, "missing", "functions_unsupported_model", "ollama/*", endpoint=CHAT),
    Accepted(_FAULTS, "missing", "tool_call*|tools|thinking", "deepinfra/*|anthropic/claude-haiku*"),
    Accepted(_FAULTS, "changed", "contents", _GEMINI, "history: assistant refusal", CHAT),
    Accepted(_FAULTS, "changed", "tools", _GEMINI, "tools + functions", CHAT),
    # Different forms
    Accepted(_WORDS, "added", "stream", cases="*stream*"),
    Accepted(_WORDS, "missing", "stream", _CLAUDE + "|deepseek/*", endpoint=MESSAGES),
    Accepted(_WORDS, "missing", "generationConfig|generationConfig.temperature", "gemini/gemini-3*"),
    Accepted(
        _WORDS,
        "changed",
        "messages[].content",
        cases="history: text *|history: tool result two parts|history: tool result picture|history: tool result blocks",
    ),
    Accepted(_SAFE, "changed", "messages[].content", "mistral/*|deepseek/*", "history: sound|history: video", CHAT),
    Accepted(_CLAUDES, "changed", "messages[].content", cases="history: tool result with reference", endpoint=MESSAGES),
    Accepted(_IDS, "changed", "messages[].content", _CLAUDE, "history: tool round with unsigned thinking", MESSAGES),
    Accepted(
        _WORDS, "changed", "contents[].parts[].functionResponse.response.content", _GEMINI, "history: *", MESSAGES
    ),
    Accepted(_WORDS, "changed", "messages[].content[].text", cases="history: tool result picture", endpoint=CHAT),
    Accepted(
        _WORDS, "added|missing", "output_format*|output_config.format*|output_config", _CLAUDE, "*response_format*"
    ),
    Accepted(_WORDS, "changed", "response_format.json_schema.name", endpoint=MESSAGES),
    Accepted(_WORDS, "changed", "system", "vertex_ai/claude*", endpoint=MESSAGES),
    Accepted(_WORDS, "changed", "tool_choice", "mistral/*|fireworks_ai/*"),
    Accepted(_WORDS, "missing", "tools|stop*", cases="tools=[]|stop=[]|stop_sequences=[]|*parallel*"),
    Accepted(_WORDS, "missing", "metadata", _CLAUDE, "metadata={}", MESSAGES),
    Accepted(_WORDS, "address", "*", "vertex_ai/claude*", "stream*"),
    # Other APIs
    Accepted(_NATIVE, _OTHERWISE, "*", _OLLAMA),
    Accepted(_NATIVE, _OTHERWISE + "|address", "*", "deepseek/*", endpoint=MESSAGES),
    Accepted(_NATIVE, "refused there", "*'presence_penalty'*", _OLLAMA, endpoint=CHAT),
    Accepted(_NATIVE, "address", "*", "openai/*|xai/*"),
    Accepted(
        _NATIVE, _OTHERWISE, "include|store|input*|max_*|messages|reasoning*|tools[].*|tool_choice*", "openai/gpt-5.4"
    ),
    # Fields that request nothing
    Accepted(
        _NOTHING,
        "refused there",
        "*",
        cases="frequency_penalty=0|logprobs=false|modalities|tools=[]|stop=[]",
        endpoint=CHAT,
    ),
    Accepted(_NOTHING, "refused there", _LABELS),
    Accepted(_NOTHING, "refused there", "*'service_tier'*", cases="service_tier*"),
    Accepted(_NOTHING, "missing", "client_metadata|moderation|prompt_cache_options|provider_specific_fields|usage"),
    Accepted(_NOTHING, "missing", "generationConfig", _GEMINI, "modalities|audio", CHAT),
    Accepted(
        _NOTHING,
        "missing",
        "messages[].annotations|messages[].refusal|messages[].provider_specific_fields",
        endpoint=CHAT,
    ),
    Accepted(_NOTHING, "missing", "generationConfig", _GEMINI, "stop=[]", CHAT),
    Accepted(_NOTHING, "refused there", "*", cases="thinking=disabled|reasoning_effort=none*|nulls"),
    Accepted(_NOTHING, "refused there", "*'function_call'*|*'functions'*", _GEMINI + "|" + _OLLAMA, endpoint=CHAT),
    # Fields that the provider rejects
    Accepted(_SAFE, _OTHERWISE, "stop|stop_sequences|generationConfig.stopSequences", cases="stop=5|stop_sequences=5"),
    Accepted(
        _SAFE,
        "missing|refused here",
        "audio|logit_bias|logprobs|modalities|prediction|stop|top_logprobs",
        "groq/*|openai/o3|azure/o3*",
        endpoint=CHAT,
    ),
    Accepted(_SAFE, "missing|refused here", "stop", "openai/o3|azure/o3*", endpoint=MESSAGES),
    Accepted(_SAFE, "missing", "prompt_cache_key|safety_identifier", "groq/*", endpoint=CHAT),
    Accepted(_SAFE, "missing|refused here", "frequency_penalty|presence_penalty", "xai/*", endpoint=CHAT),
    Accepted(_SAFE, "missing", "messages[].name", "groq/*", endpoint=CHAT),
    Accepted(
        _SAFE, "missing", "messages[].cache_control|messages[].content[].cache_control|tools[].cache_control", _OPENAI
    ),
    Accepted(_SAFE, "missing|refused here", "chat_template_kwargs|min_p|repetition_penalty|top_k"),
    Accepted(_SAFE, "missing|refused here", "temperature", "openai/gpt-5.4"),
    Accepted(_SAFE, "refused here", "messages", _CLAUDE + "|" + _GEMINI, "history: *"),
    Accepted(_SAFE, "refused here", "tools|frequency_penalty|presence_penalty", _GEMINI, endpoint=CHAT),
    Accepted(_SAFE, "changed", "messages", "mistral/*", "history: function role", CHAT),
    Accepted(_SAFE, "missing", "response_format.json_schema.strict", endpoint=MESSAGES),
    # Limits
    Accepted(_LIMITS, _OTHERWISE, "max_tokens|max_completion_tokens|generationConfig.maxOutputTokens"),
    # Efforts
    Accepted(
        _EFFORTS,
        _OTHERWISE + "|refused here",
        "reasoning_effort|thinking*|output_config*|generationConfig.thinkingConfig*",
    ),
    Accepted(_EFFORTS, "refused there", "*reasoning*|*effort*|*thinking*"),
    Accepted(_EFFORTS, "changed", "messages", "mistral/magistral*"),
    # Histories
    Accepted(_IDS, "changed", "messages[].tool_call_id|messages[].tool_calls[].id|messages[].content[].id"),
    Accepted(_IDS, "changed", "messages[].content[].tool_use_id", _CLAUDE),
    Accepted(_IDS, "added|changed", "contents[].parts[].thoughtSignature", _GEMINI, "history: tool id odd", MESSAGES),
    Accepted(_IDS, "added|missing", "messages[].reasoning_content|messages[].thinking_blocks|messages[].reasoning"),
    # Usage, roles
    Accepted(_USAGE, "added", "stream_options"),
    Accepted(_USAGE, "missing", "usage", "openrouter/*"),
    Accepted(_ROLES, "changed", "messages[].role|messages[].content", _OPENAI, endpoint=CHAT),
    Accepted(
        _ROLES,
        _OTHERWISE,
        "messages[].role|messages[].content|messages[].content[].text|contents[].parts|systemInstruction",
        cases="history: system in the middle|system*",
        endpoint=MESSAGES,
    ),
    # Anthropic's fields
    Accepted(
        _CLAUDES,
        "missing|refused here",
        "cache_control|compaction|container|diagnostics|mcp_servers|tools",
        endpoint=MESSAGES,
    ),
    Accepted(_CLAUDES, "missing", "service_tier|serviceTier|web_search_options", endpoint=MESSAGES),
    Accepted(_CLAUDES, "missing", "tools[].cache_control", "openrouter/*", endpoint=MESSAGES),
    Accepted(_CLAUDES, "changed", "contents", _GEMINI, "history: tool result picture", MESSAGES),
    # Fields that LiteLLM omits
    Accepted(_PASSED, "added", "prompt_cache_retention|user|metadata|verbosity|chat_template_kwargs", endpoint=CHAT),
    Accepted(_PASSED, "added", "user|parallel_tool_calls", endpoint=MESSAGES),
    Accepted(_PASSED, "added", "service_tier", _CLAUDE),
    Accepted(_PASSED, "added", "diagnostics", "anthropic/*", endpoint=MESSAGES),
    Accepted(_PASSED, "added", "tools[].function.strict"),
    Accepted(_PASSED, "added", "tool_choice|tools", "mistral/*|deepinfra/*|deepseek/*"),
    Accepted(_PASSED, "refused there", "*tool_choice*", "deepinfra/*"),
    Accepted(_PASSED, _OTHERWISE, "tools[].custom|tools[].type|tools[].function", "hosted_vllm/*", endpoint=CHAT),
    Accepted(_PASSED, "added", "messages[].cache_control", "openrouter/anthropic/*", endpoint=CHAT),
    Accepted(_PASSED, "added", "generationConfig.logprobs", _GEMINI, endpoint=CHAT),
    Accepted(_PASSED, "refused there", "*top_logprobs*|*audio format*", _GEMINI, endpoint=CHAT),
    Accepted(_PASSED, "missing", "serviceTier", _GEMINI, endpoint=CHAT),
    Accepted(_PASSED, "added|missing|changed", "web_search_options|tools", "groq/openai/*", endpoint=CHAT),
    Accepted(_PASSED, "refused there", "BadRequestError: Fireworks AI*"),
    Accepted(_PASSED, "refused there", "*verbosity*", "azure/my-deployment"),
    # Schemas
    Accepted(_SCHEMAS, _OTHERWISE, "response_format|tools|tool_choice", "groq/llama*|fireworks_ai/*"),
    Accepted(_SCHEMAS, "refused there", "BadRequestError: Groq model*", "groq/llama*"),
)
