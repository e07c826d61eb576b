"""The tags of a line in the spend log: those of its key, and those of the request.

A request's are in its `metadata`, as LiteLLM has them (https://docs.litellm.ai/docs/proxy/cost_tracking): {"metadata":
{"tags": ["job:1"]}}. They are labels only. So what cannot be one is left out, and refuses no request; `metadata` also
belongs to the provider, whose own `tags` may be anything.
"""

import json
from collections.abc import Mapping
from typing import Any

from .field_kinds import MAX_TAG, MAX_TAGS, is_printable


def of_request(body: Mapping[str, Any]) -> str:
    """A JSON list; "" where there are none."""
    metadata = body.get("metadata")
    if not metadata or not isinstance(metadata, Mapping):
        return ""
    tags = metadata.get("tags")
    if not tags or not isinstance(tags, list):
        return ""
    found = dict.fromkeys(tag for tag in tags[:MAX_TAGS] if is_printable(tag, MAX_TAG))
    return json.dumps(list(found)) if found else ""


def together(of_key: str, of_request: str) -> str:
    """The JSON list of a line's tags, each once. `of_key`: a JSON list; `of_request`: as above."""
    if not of_request:
        return of_key
    if of_key == "[]":
        return of_request
    return json.dumps(list(dict.fromkeys([*json.loads(of_key), *json.loads(of_request)])))
