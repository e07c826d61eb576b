"""Gemini's `generateContent`, as in Google AI Studio and Vertex AI."""

import re
from typing import Any

from ..answers import Reply, Tool, Turn, pieces, reply_to, text_of
from ..record import Recorded
from .base import Events, Format, Match, Refusal, Setting, sse

_PATH = re.compile(
    r".*/models/(?P<model>[^/:]+):"
    r"(?P<method>generateContent|streamGenerateContent|countTokens|embedContent|batchEmbedContents)"
)
_EMBEDDINGS = ("embedContent", "batchEmbedContents")
ERROR_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# What a strict provider requires to be sent back with the call. Real ones are far longer than a call's ID may be.
SIGNATURE = "CiQB+/fake/abc+def" + "A" * 300 + "=="
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool": "STOP"}


def match(path: str) -> Match | None:
    found = _PATH.fullmatch(path)
    return Match(GEMINI, found["method"], found["model"]) if found else None


class Gemini(Format):
    name = "gemini"

    def refusal(self, seen: Recorded, endpoint: str) -> Refusal | None:
        if not seen.api_key:
            return Refusal(403, "Method doesn't allow unregistered callers.")
        if endpoint in _EMBEDDINGS:
            return None
        body = seen.body.get("generateContentRequest", seen.body) if isinstance(seen.body, dict) else {}
        if not body.get("contents"):
            return Refusal(400, "* GenerateContentRequest.contents: contents is not specified")
        if endpoint == "streamGenerateContent" and seen.query.get("alt") != "sse":
            return Refusal(400, "This fake streams server-sent events only: add alt=sse.")
        return None

    def wants_stream(self, seen: Recorded, endpoint: str) -> bool:
        return endpoint == "streamGenerateContent"

    def model(self, seen: Recorded, captured: str | None) -> str | None:
        return captured

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"code": status, "message": message, "status": ERROR_STATUSES.get(status, "INTERNAL")}}

    def plain(self, seen: Recorded, endpoint: str, setting: Setting) -> dict[str, Any]:
        if endpoint in _EMBEDDINGS:
            vectors = [{"values": [0.5]} for _ in seen.body.get("requests", [None])]
            return {"embeddings": vectors} if endpoint == "batchEmbedContents" else {"embedding": vectors[0]}
        counted = seen.body.get("generateContentRequest", seen.body)
        reply = reply_to(_turn(counted), setting.behaviour)
        if endpoint == "countTokens":
            return {"totalTokens": reply.prompt_tokens}
        return _response(seen, setting.number, _parts(reply, setting), reply, finish=_FINISH[reply.finish])

    def events(self, seen: Recorded, endpoint: str, setting: Setting) -> Events:
        reply = reply_to(_turn(seen.body), setting.behaviour)
        # A function call is sent whole, in one event.
        parts = [[part] for part in _parts(reply, setting) if "functionCall" in part]
        parts = [[{"text": p}] for p in pieces(reply.text, setting.chunks) if reply.text or not parts] + parts
        finishes = [None] * (len(parts) - 1) + [_FINISH[reply.finish]]
        return Events(
            content=[
                sse(_response(seen, setting.number, part, reply, finish=finish))
                for part, finish in zip(parts, finishes, strict=True)
            ]
        )


def _turn(body: dict[str, Any]) -> Turn:
    contents: list[dict[str, Any]] = body["contents"]
    last = next((c for c in reversed(contents) if c.get("role", "user") != "model"), {"parts": []})
    results = [found for part in last["parts"] if (found := _field(part, "functionResponse"))]
    texts = [text_of(c["parts"]) for c in contents]
    system = body.get("systemInstruction") or body.get("system_instruction")
    if system:
        texts.insert(0, text_of(system["parts"]))
    declared = [d for tool in body.get("tools") or () for d in _field(tool, "functionDeclarations") or ()]
    calling = _field(_field(body, "toolConfig") or {}, "functionCallingConfig") or {}
    mode = calling.get("mode", "AUTO")
    names = _field(calling, "allowedFunctionNames") or ["any"]
    generation = _field(body, "generationConfig") or {}
    return Turn(
        texts=texts,
        last=str(results[-1]["response"]) if results else text_of(last["parts"]),
        from_user=not results,
        tools=[Tool(d["name"], d.get("parameters") or _field(d, "parametersJsonSchema") or {}) for d in declared],
        choice=names[0] if mode == "ANY" else mode.lower(),
        max_tokens=_field(generation, "maxOutputTokens"),
        schema=_field(generation, "responseJsonSchema") or _field(generation, "responseSchema"),
    )


def _field(value: dict[str, Any], camel: str) -> Any:
    """Google's JSON accepts both camelCase and snake_case."""
    return value.get(camel, value.get(re.sub("[A-Z]", lambda m: "_" + m[0].lower(), camel)))


def _parts(reply: Reply, setting: Setting) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"text": reply.text}] if reply.text or reply.call is None else []
    if reply.call is not None:
        call = {"functionCall": {"name": reply.call.name, "args": reply.call.arguments}}
        parts.append({**call, "thoughtSignature": SIGNATURE} if setting.behaviour.scripted else call)
    return parts


def _response(
    seen: Recorded, number: int, parts: list[dict[str, Any]], reply: Reply, finish: str | None
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    usage = {"promptTokenCount": reply.prompt_tokens, "totalTokenCount": reply.prompt_tokens}
    if finish:
        candidate["finishReason"] = finish
        usage["candidatesTokenCount"] = reply.completion_tokens
        usage["totalTokenCount"] += reply.completion_tokens
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": seen.model,
        "responseId": f"fake-{number}",
    }


GEMINI = Gemini()
