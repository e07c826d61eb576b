"""Estimates the tokens of a request of Gemini's API, for models whose provider is not asked.

https://ai.google.dev/api/tokens
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from worker.core.pricing.estimate import text_tokens

from ....config.deployment import Deployment
from ....config.prices import tokenizer
from ....request.completion import Completion, encode
from ...shared.answer import Plain

# What chat templates add to a message, and the tokens that Gemini counts for an image.
_PER_MESSAGE = 4
_PER_IMAGE = 258


def counted(d: Deployment, model: str, request: Completion) -> Plain:
    """Counts text rather too high than too low. Sounds and documents count as nothing, because their bytes say nothing
    about their tokens. Raises ApiError 400 if the tools are nested too deeply.
    """
    messages = request.priced["messages"]
    text = "\n".join(_texts(messages))
    tools = request.priced.get("tools")
    if tools:
        text += encode({"tools": tools}).decode()
    texts = text_tokens(text, tokenizer(d, model)) + _PER_MESSAGE * len(messages)
    images = _PER_IMAGE * sum(part["type"] == "image_url" for message in messages for part in _parts(message))
    found = {"TEXT": texts, "IMAGE": images}
    details = [{"modality": kind, "tokenCount": tokens} for kind, tokens in found.items() if tokens]
    return Plain(orjson.dumps({"totalTokens": texts + images, "promptTokensDetails": details}), None)


def _texts(messages: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for message in messages:
        content = message["content"]
        if isinstance(content, str):
            yield content
            continue
        yield from (part["text"] for part in content if part["type"] == "text")
        for call in message.get("tool_calls") or ():
            function = call["function"]
            yield f"{function['name']} {function['arguments']}"


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return message["content"] if isinstance(message["content"], list) else []
