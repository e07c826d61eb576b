"""The fields of a response that repeat the request. https://platform.openai.com/docs/api-reference/responses/object"""

from collections.abc import Mapping
from typing import Any

_SAME = (
    "instructions", "max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls", "prompt_cache_key",
    "prompt_cache_retention", "safety_identifier", "temperature", "tool_choice", "tools", "top_logprobs", "top_p",
    "truncation", "user",
)  # fmt: skip


def blank(name: str, created: float) -> dict[str, Any]:
    """A response that has not begun. `name` is the model's public name, `created` is in seconds since the epoch."""
    return {
        "id": "",
        "object": "response",
        "created_at": int(created),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "model": name,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
    }


def repeated(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the request that the response repeats."""
    made = {name: body[name] for name in _SAME if name in body}
    reasoning, text = body.get("reasoning"), body.get("text")
    if isinstance(reasoning, dict):
        made["reasoning"] = {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}
    if isinstance(text, dict):
        made["text"] = {"format": {"type": "text"}, **text}
    return made
