"""Canonical spelling of Google's JSON."""

from typing import Any

CAMEL = {
    "system_instruction": "systemInstruction",
    "inline_data": "inlineData",
    "mime_type": "mimeType",
    "file_data": "fileData",
    "file_uri": "fileUri",
    "function_call": "functionCall",
    "function_response": "functionResponse",
    "function_declarations": "functionDeclarations",
    "allowed_function_names": "allowedFunctionNames",
    "media_resolution": "mediaResolution",
    "max_output_tokens": "maxOutputTokens",
    "stop_sequences": "stopSequences",
    "candidate_count": "candidateCount",
    "top_p": "topP",
    "top_k": "topK",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "response_mime_type": "responseMimeType",
    "response_json_schema": "responseJsonSchema",
}


def canonical(value: Any) -> Any:
    """Google accepts both `mime_type` and `mimeType`. LiteLLM writes both; we write the names in Google's reference."""
    if isinstance(value, dict):
        return {CAMEL.get(name, name): canonical(inner) for name, inner in value.items()}
    return [canonical(inner) for inner in value] if isinstance(value, list) else value
