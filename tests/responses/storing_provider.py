"""A provider that stores responses, as strict as OpenAI is reported to be about ids.

All keys of a gateway share its one account. It knows only its own ids, and refuses ids over 64 characters, unknown ids
of items (even with content), and `previous_response_id` of a response that was not stored or was deleted.
"""

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]


class StoringProvider:
    """`responses`: by id, {"response", "input": all items of the conversation before it}. `requests`: (method, path,
    body, authorization)."""

    def __init__(self) -> None:
        self.responses: dict[str, Object] = {}
        self.items: dict[str, Object] = {}
        self.requests: list[tuple[str, str, Object, str]] = []
        self.words = 3
        self.url = ""

    @property
    def base(self) -> str:
        return f"{self.url}/v1"

    @property
    def last(self) -> Object:
        return self.requests[-1][2]

    def answer(self, method: str, path: str, body: Object) -> tuple[int, Object]:
        address = urlsplit(path)
        parts = address.path.removeprefix("/v1/").strip("/").split("/")
        if parts[0] != "responses":
            return 404, _error(f"Unknown request URL: {method} {path}.")
        if method == "POST" and len(parts) == 1:
            return self._create(body)
        if method == "POST" and parts[1] in ("compact", "input_tokens"):
            return self._beside(parts[1], body)
        found = self.responses.get(parts[1])
        if found is None:
            return 404, _error(f"Response with id '{parts[1]}' not found.")
        if method == "DELETE":
            del self.responses[parts[1]]
            for item in found["response"]["output"]:
                self.items.pop(item["id"], None)
            return 200, {"id": parts[1], "object": "response", "deleted": True}
        if parts[2:] == ["cancel"]:
            return 400, _error("Cannot cancel a synchronous response.")
        if parts[2:] == ["input_items"]:
            return 200, self._list(found["input"], parse_qs(address.query))
        return 200, found["response"]

    def _list(self, items: list[Object], query: dict[str, list[str]]) -> Object:
        if query.get("order", ["desc"])[0] == "desc":
            items = items[::-1]
        if "after" in query:
            items = items[1 + [item["id"] for item in items].index(query["after"][0]) :]
        shown = items[: int(query.get("limit", ["20"])[0])]
        first, last = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
        more = len(items) > len(shown)
        return {"object": "list", "data": shown, "first_id": first, "last_id": last, "has_more": more}

    def _beside(self, name: str, body: Object) -> tuple[int, Object]:
        conversation = self._conversation(body)
        if isinstance(conversation, tuple):
            return conversation
        tokens = sum(_size(item) for item in conversation)
        if name == "input_tokens":
            return 200, {"object": "response.input_tokens", "input_tokens": tokens}
        usage = {"input_tokens": tokens, "output_tokens": 5, "total_tokens": tokens + 5}
        summary = {"id": _id("cmp"), "type": "compaction", "encrypted_content": "gAAA"}
        made = {"id": _id("resp"), "object": "response.compaction", "created_at": 1, "output": [summary]}
        return 200, {**made, "usage": usage}

    def _create(self, body: Object) -> tuple[int, Object]:
        conversation = self._conversation(body)
        if isinstance(conversation, tuple):
            return conversation
        text = " ".join(["word"] * min(self.words, body.get("max_output_tokens", self.words)))
        part = {"type": "output_text", "text": text, "annotations": []}
        said = {"id": _id("msg"), "type": "message", "status": "completed", "role": "assistant", "content": [part]}
        thought = {"id": _id("rs"), "type": "reasoning", "summary": []}
        output = [thought, said]
        read, written = sum(map(_size, conversation)), sum(map(_size, output))
        response = {
            "id": _id("resp"),
            "object": "response",
            "created_at": 1,
            "status": "completed",
            "error": None,
            "model": body["model"],
            "output": output,
            "previous_response_id": body.get("previous_response_id"),
            "store": body.get("store", True),
            "metadata": body.get("metadata") or {},
            "usage": {"input_tokens": read, "output_tokens": written, "total_tokens": read + written},
        }
        if body.get("store", True):
            given = [{**item, "id": item.get("id") or _id("msg")} for item in conversation]
            self.responses[response["id"]] = {"response": response, "input": given}
            self.items.update((item["id"], item) for item in (*given, *output))
        return 200, response

    def _conversation(self, body: Object) -> list[Object] | tuple[int, Object]:
        """All items that the model reads, or the refusal."""
        items: list[Object] = []
        previous = body.get("previous_response_id")
        if previous is not None:
            found = self.responses.get(previous)
            if found is None:
                message = f"Previous response with id '{previous}' not found."
                return 400, _error(message, "previous_response_not_found", "previous_response_id")
            items += found["input"] + found["response"]["output"]
        given = body.get("input") or []
        if isinstance(given, str):
            given = [{"type": "message", "role": "user", "content": given}]
        for index, item in enumerate(given):
            id = item.get("id")
            if id is None:
                items.append(item)
                continue
            if len(id) > 64:
                return 400, _error(f"Invalid 'input[{index}].id': string too long. Expected a maximum length of 64.")
            if id not in self.items:
                return 404, _error(f"Item with id '{id}' not found. Items are not persisted.", None, "input")
            items.append(self.items[id])
        return items

    @contextmanager
    def serving(self) -> "Iterator[StoringProvider]":
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _handler(provider: StoringProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.loads(raw) if raw else {}
            provider.requests.append((self.command, self.path, body, self.headers.get("authorization") or ""))
            status, answer = provider.answer(self.command, self.path, body)
            streams = status == 200 and body.get("stream")
            data = _events(answer) if streams else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "text/event-stream" if streams else "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _serve

        def log_message(self, *_: Any) -> None: ...

    return Handler


def _events(response: Object) -> bytes:
    """A stream as OpenAI sends it, with everything that carries an id."""
    early = {**response, "status": "in_progress", "output": [], "usage": None}
    events: list[Object] = [{"type": "response.created", "response": early}]
    events.append({"type": "response.in_progress", "response": early})
    for place, item in enumerate(response["output"]):
        at = {"output_index": place}
        opened = {**item, "content": []} if item["type"] == "message" else item
        events.append({"type": "response.output_item.added", **at, "item": opened})
        for part in item.get("content", ()):
            for word in part["text"].split():
                events.append({"type": "response.output_text.delta", **at, "item_id": item["id"], "delta": word + " "})
        events.append({"type": "response.output_item.done", **at, "item": item})
    events.append({"type": "response.completed", "response": response})
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}\n\n".encode()
        for number, event in enumerate(events)
    )


def _id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(24)}"


def _size(item: Object) -> int:
    """A token for each word, and one for the item."""
    content = item.get("content")
    texts = [content] if isinstance(content, str) else [part.get("text", "") for part in content or ()]
    return 1 + sum(len(text.split()) for text in texts)


def _error(message: str, code: str | None = None, param: str | None = None) -> Object:
    return {"error": {"message": message, "type": "invalid_request_error", "code": code, "param": param}}
