"""Replaces the ids in a response by sealed ones: in a complete response, or in the events of a stream.

Only the events that introduce ids are parsed. In all others, ids are replaced as bytes.
https://platform.openai.com/docs/api-reference/responses-streaming
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from ...shared.events import payload, split

Seal = Callable[[str], str]

_IDS = re.compile(
    rb'("(?:id|item_id|response_id|previous_response_id|approval_request_id)"\s*:\s*")([A-Za-z0-9._:/+=-]{1,512})"'
)
_NAMED = b'"item_id":"%b"'
# Responses and items have ids; nothing else in an event does.
_INTRODUCES = re.compile(rb'"(?:response|item)"\s*:\s*\{')
ENDS = frozenset(("response.completed", "response.incomplete"))


class ResponseIds:
    """Seals the ids of one response.

    `of_response`, `of_item`: seal an id, the same one always in the same way. `known`: ids that the client already has,
    by the provider's. `ended` is the complete response, once the stream has shown it.
    """

    def __init__(self, of_response: Seal, of_item: Seal, known: Mapping[str, str] | None = None) -> None:
        self._of_response = of_response
        self._of_item = of_item
        self._known = {theirs.encode(): ours.encode() for theirs, ours in (known or {}).items()}
        self._item = b"", b""  # how events name the latest item, with either id
        self.ended: dict[str, Any] | None = None

    def whole(self, raw: bytes) -> bytes:
        """Replaces the ids in a response object."""
        body = orjson.loads(raw)
        if isinstance(body, dict):
            self._learn_response(body)
            self.ended = body
        return self._replaced(raw)

    def items(self, raw: bytes) -> bytes:
        """Replaces the ids in a list of items, including its cursors."""
        body = orjson.loads(raw)
        items = body.get("data") if isinstance(body, dict) else None
        for item in items if isinstance(items, list) else ():
            self._learn_item(item)
        for name in ("first_id", "last_id"):
            theirs = body.get(name) if isinstance(body, dict) else None
            if isinstance(theirs, str):
                body[name] = self._known.get(theirs.encode(), theirs.encode()).decode()
        return self._replaced(orjson.dumps(body))

    def feed(self, data: bytes) -> bytes:
        """Replaces the ids in complete events."""
        if b'"item"' not in data and b'"response"' not in data:
            theirs, ours = self._item
            said = data.count(theirs) if theirs else 0
            if said and said == data.count(b'id"'):  # deltas of the latest item, which are most of a stream
                return data.replace(theirs, ours)
            return self._replaced(data)
        for event in split(data):
            if _INTRODUCES.search(event):
                self._learn(payload(event) or {})
        return self._replaced(data)

    def _replaced(self, data: bytes) -> bytes:
        known = self._known
        return _IDS.sub(lambda found: found[1] + known.get(found[2], found[2]) + b'"', data)

    def _learn(self, event: Mapping[str, Any]) -> None:
        response, item = event.get("response"), event.get("item")
        if isinstance(response, dict):
            self._learn_response(response)
            if event.get("type") in ENDS:
                self.ended = response
        self._learn_item(item)
        theirs = item.get("id") if isinstance(item, dict) else None
        if isinstance(theirs, str) and theirs.encode() in self._known:
            self._item = _NAMED % theirs.encode(), _NAMED % self._known[theirs.encode()]

    def _learn_response(self, response: Mapping[str, Any]) -> None:
        self._add(response.get("id"), self._of_response)
        output = response.get("output")
        for item in output if isinstance(output, list) else ():
            self._learn_item(item)

    def _learn_item(self, item: Any) -> None:
        if isinstance(item, dict):
            self._add(item.get("id"), self._of_item)

    def _add(self, id: Any, seal: Seal) -> None:
        if isinstance(id, str) and id and id.encode() not in self._known:
            self._known[id.encode()] = seal(id).encode()
