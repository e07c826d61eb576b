"""The tags of a spend log line: its key's and the request's.

A request sends them in its `metadata`, as with LiteLLM (https://docs.litellm.ai/docs/proxy/cost_tracking): {"metadata":
{"tags": ["job:1"]}}. Tags are only labels, so invalid ones are dropped instead of refusing the request. `metadata` also
belongs to the provider, whose own `tags` may contain anything.
"""

import json
from collections.abc import Mapping
from typing import Any

from .field_kinds import MAX_TAG, MAX_TAGS, is_printable


def of_request(body: Mapping[str, Any]) -> str:
    """Returns a JSON list, or "" if there are none."""
    metadata = body.get("metadata")
    if not metadata or not isinstance(metadata, Mapping):
        return ""
    tags = metadata.get("tags")
    if not tags or not isinstance(tags, list):
        return ""
    found = dict.fromkeys(tag for tag in tags[:MAX_TAGS] if is_printable(tag, MAX_TAG))
    return json.dumps(list(found)) if found else ""


def together(of_key: str, of_request: str) -> str:
    """Returns a line's distinct tags as a JSON list. `of_key`: a JSON list. `of_request`: from `of_request`."""
    if not of_request:
        return of_key
    if of_key == "[]":
        return of_request
    return json.dumps(list(dict.fromkeys([*json.loads(of_key), *json.loads(of_request)])))
