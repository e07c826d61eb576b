"""Values of each field of Anthropic's Messages API, including betas (https://docs.claude.com/en/api/messages)."""

from typing import Any

MESSAGES: dict[str, Any] = {"max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}
_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_TOOL = {"name": "weather", "description": "Of a city", "input_schema": _SCHEMA}
TOOLS: dict[str, Any] = {"tools": [_TOOL]}
_EPHEMERAL = {"type": "ephemeral"}
_LARGE = {"max_tokens": 4096}

SINGLES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "cache_control": {"cache_control": _EPHEMERAL},
    "compaction": {"compaction": {"type": "auto"}},
    "container": {"container": "container_1"},
    "context_management": {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
    "diagnostics": {"diagnostics": {"previous_message_id": None}},
    "mcp_servers": {"mcp_servers": [{"type": "url", "url": "https://mcp.example", "name": "m"}]},
    "metadata": {"metadata": {"user_id": "someone"}},
    "output_config": {"output_config": {"effort": "low"}},
    "service_tier": {"service_tier": "auto"},
    "stop_sequences": {"stop_sequences": ["END"]},
    "stream": {"stream": True},
    "system": {"system": "Be brief."},
    "temperature": {"temperature": 0.5},
    "thinking": {"thinking": {"type": "enabled", "budget_tokens": 1024}, **_LARGE},
    "tool_choice": {**TOOLS, "tool_choice": {"type": "any"}},
    "tools": TOOLS,
    "top_k": {"top_k": 40},
    "top_p": {"top_p": 0.5},
}
# Fields that clients may not set here (`container/request/authority.py`), or that depend on the account.
WITHHELD = frozenset(
    "speed inference_geo workspace_id fallbacks thread user_profile_id billing_policy fallback_credit_token".split()
)
VARIANTS: dict[str, dict[str, Any]] = {
    "max_tokens=1": {"max_tokens": 1},
    "max_tokens=900000": {"max_tokens": 900_000},
    "metadata={}": {"metadata": {}},
    "output_config=medium": {"output_config": {"effort": "medium"}},
    "output_config=high": {"output_config": {"effort": "high"}},
    "output_config=xhigh": {"output_config": {"effort": "xhigh"}},
    "output_config=max": {"output_config": {"effort": "max"}},
    "output_config=format": {
        "output_config": {"format": {"type": "json_schema", "schema": {**_SCHEMA, "additionalProperties": False}}}
    },
    "service_tier=standard_only": {"service_tier": "standard_only"},
    "stop_sequences=5": {"stop_sequences": ["a", "b", "c", "d", "e"]},
    "stop_sequences=[]": {"stop_sequences": []},
    "stream=false": {"stream": False},
    "system=blocks": {"system": [{"type": "text", "text": "Be brief.", "cache_control": _EPHEMERAL}]},
    "temperature=0": {"temperature": 0},
    "temperature=1": {"temperature": 1},
    "thinking=adaptive": {"thinking": {"type": "adaptive"}, **_LARGE},
    "thinking=disabled": {"thinking": {"type": "disabled"}},
    "thinking=much": {"thinking": {"type": "enabled", "budget_tokens": 20_000}, "max_tokens": 32_000},
    "thinking=adaptive, effort low": {
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low"},
        **_LARGE,
    },
    "thinking=adaptive, effort max": {
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "max"},
        **_LARGE,
    },
    "tool_choice=auto": {**TOOLS, "tool_choice": {"type": "auto"}},
    "tool_choice=none": {**TOOLS, "tool_choice": {"type": "none"}},
    "tool_choice=named": {**TOOLS, "tool_choice": {"type": "tool", "name": "weather"}},
    "tool_choice=not parallel": {**TOOLS, "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    "tools=[]": {"tools": []},
    "tools=cached": {"tools": [{**_TOOL, "cache_control": _EPHEMERAL}]},
    "tools=custom type": {"tools": [{**_TOOL, "type": "custom"}]},
    "tools=strict": {"tools": [{**_TOOL, "strict": True}]},
    "tools=web search": {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]},
    "tools=bash": {"tools": [{"type": "bash_20250124", "name": "bash"}]},
    "top_p=1": {"top_p": 1},
    "unknown": {"client_metadata": {"turn": "1"}},
}
NULLS: dict[str, dict[str, Any]] = {
    "nulls": dict.fromkeys(sorted({name for fields in SINGLES.values() for name in fields} - {"max_tokens"}))
}
ALONE = {**SINGLES, **VARIANTS, **NULLS}

PAIRS: tuple[tuple[str, str], ...] = (
    ("thinking", "tools"),
    ("thinking", "tool_choice"),
    ("thinking", "temperature"),
    ("thinking", "top_p"),
    ("thinking", "top_k"),
    ("thinking", "stream"),
    ("thinking=disabled", "output_config"),
    ("thinking", "output_config"),
    ("thinking", "output_config=format"),
    ("output_config", "temperature"),
    ("output_config", "tools"),
    ("output_config=max", "tools"),
    ("output_config=format", "tools"),
    ("tools", "stream"),
    ("tools", "tools=cached"),
    ("tool_choice=named", "temperature"),
    ("temperature", "top_p"),
    ("temperature", "top_k"),
    ("system", "metadata"),
    ("system=blocks", "tools=cached"),
    ("max_tokens=1", "thinking=adaptive"),
    ("max_tokens=900000", "tools"),
    ("stop_sequences", "stream"),
)
