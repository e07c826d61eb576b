"""Request validation of Gemini's `generateContent`: https://ai.google.dev/api/generate-content.

Its JSON is a protocol buffer: unknown fields are rejected.
"""

import re
from collections.abc import Mapping
from typing import Any

from .refusal import Refusal, Wrong

_FIELDS = frozenset(
    "contents tools toolConfig safetySettings systemInstruction generationConfig cachedContent serviceTier".split()
)
_GENERATION = frozenset(
    "stopSequences responseMimeType responseSchema responseJsonSchema _responseJsonSchema responseModalities "
    "candidateCount maxOutputTokens temperature topP topK seed presencePenalty frequencyPenalty responseLogprobs "
    "logprobs enableEnhancedCivicAnswers speechConfig thinkingConfig imageConfig mediaResolution".split()
)
_PART = frozenset(
    "text inlineData functionCall functionResponse fileData executableCode codeExecutionResult thought "
    "thoughtSignature videoMetadata mediaResolution".split()
)
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")


def refusal(body: Mapping[str, Any]) -> Refusal | None:
    try:
        _check(body)
    except Wrong as error:
        message = f"Invalid JSON payload received. {error.path}: {error}"
        return Refusal(400, {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}})
    return None


def _check(body: Mapping[str, Any]) -> None:
    _only(_FIELDS, body, "")
    _only(_GENERATION, body.get("generationConfig") or {}, "generationConfig.")
    for tool in body.get("tools") or ():
        for function in tool.get("functionDeclarations") or ():
            _only(
                frozenset({"name", "description", "parameters", "parametersJsonSchema", "response"}), function, "tools."
            )
            if not _NAME.fullmatch(function["name"]):
                raise Wrong("tools.functionDeclarations.name", "Invalid function name.")
    calls = 0
    for index, content in enumerate(body["contents"]):
        at = f"contents[{index}]"
        if content.get("role", "user") not in ("user", "model"):
            raise Wrong(f"{at}.role", "Please use a valid role: user, model.")
        if not content.get("parts"):
            raise Wrong(f"{at}.parts", "must include at least one parts field")
        for part in content["parts"]:
            _only(_PART, part, f"{at}.parts.")
            if "thoughtSignature" in part and not _SIGNATURE.fullmatch(part["thoughtSignature"]):
                raise Wrong(f"{at}.parts.thoughtSignature", "Base64 decoding failed")
        results = sum("functionResponse" in part for part in content["parts"])
        if results != calls:
            raise Wrong(at, "the number of function response parts is not that of the function call parts")
        calls = sum("functionCall" in part for part in content["parts"])


def _only(known: frozenset[str], value: Mapping[str, Any], at: str) -> None:
    for name in value:
        if name not in known:
            raise Wrong(f"{at}{name}", f'Unknown name "{name}": Cannot find field.')
