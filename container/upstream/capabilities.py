"""What each provider and model takes: fields, roles, output limits, content, thoughts, ids.

The wire formats fit a request by this table before it is sent, so that nothing has to be learnt from a refusal.
"""

from typing import Literal, NamedTuple

from ..config import Deployment


class Capabilities(NamedTuple):
    """What one model at one provider takes.

    `fields`: the fields of OpenAI's chat API that it takes, None where every field may pass; `developer_role`: it knows
    the role, else `system` stands in; `limit_name`: the field of an output limit; `max_output` and `min_output`: the
    largest and smallest limit it takes, in tokens (None: unknown); `cache_markers`: `cache_control` may stay in
    messages and tools; `thoughts`: how it wants an earlier answer's reasoning back (`strip`: not at all, `keep`:
    `reasoning_content` may stay, `require`: `reasoning_content` must stand beside tool calls); `efforts`: the
    `reasoning_effort` levels it knows, None where any may pass; `tool_name_length`: the longest name of a tool, in
    characters; `call_id_length`: the longest id of a tool call (None: no bound); `call_id_pattern`: a regular
    expression that such an id has to match in full ('': any); `responses`: when chat is served by the provider's
    Responses API (`with_tools`: only a request with function tools and reasoning).
    """

    fields: frozenset[str] | None = None
    developer_role: bool = True
    limit_name: str = "max_tokens"
    max_output: int | None = None
    min_output: int = 1
    cache_markers: bool = True
    thoughts: Literal["strip", "keep", "require"] = "keep"
    efforts: frozenset[str] | None = None
    tool_name_length: int | None = None
    call_id_length: int | None = None
    call_id_pattern: str = ""
    responses: Literal["never", "with_tools", "always"] = "never"


_UNKNOWN = Capabilities()


def capabilities(d: Deployment, model: str) -> Capabilities:
    """Of `model`, the provider's name with a wildcard filled in, at the deployment."""
    return _UNKNOWN
