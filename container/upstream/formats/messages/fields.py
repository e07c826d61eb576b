"""The fields of Anthropic's Messages API. A test compares them with those of Anthropic's SDK.

Claude refuses a request with a field that it does not know, and clients send fields of their own or null.
https://docs.claude.com/en/api/messages, https://docs.claude.com/en/api/claude-on-vertex-ai
"""

from collections.abc import Mapping
from typing import Any

ANTHROPIC = frozenset(
    "billing_policy cache_control compaction container context_management diagnostics fallback_credit_token fallbacks "
    "inference_geo max_tokens mcp_servers messages metadata model output_config output_format safeguards service_tier "
    "speed stop_sequences stream system temperature thinking thread tool_choice tools top_k top_p user_profile_id "
    "workspace_id".split()
)
# Of Anthropic's own service: an account's tiers, files and servers. Without the first three a client would get
# something else than what it asked for.
MISSED_ON_VERTEX = ("container", "mcp_servers", "thread")
_NOT_ON_VERTEX = frozenset(
    "billing_policy diagnostics fallback_credit_token fallbacks inference_geo service_tier speed user_profile_id "
    "workspace_id".split()
)
# The model stands in the address.
VERTEX = ANTHROPIC - _NOT_ON_VERTEX - frozenset((*MISSED_ON_VERTEX, "model"))


def known(body: Mapping[str, Any], fields: frozenset[str]) -> Mapping[str, Any]:
    """The body without other fields and without nulls, itself where it has neither."""
    if body.keys() <= fields and None not in body.values():
        return body
    return {name: value for name, value in body.items() if name in fields and value is not None}
