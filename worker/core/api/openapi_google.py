"""JSON schemas of Gemini's API for the OpenAPI description, in camelCase. Every field is also accepted in snake_case.

https://ai.google.dev/api/generate-content
"""

from .openapi_schemas import FLAG, NUMBER, OBJECT, TEXT, WHOLE, Schema, an_object, array, nullable, ref

_NOT_NEGATIVE: Schema = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_NOTHING_ELSE = {"additionalProperties": False}
_CALLED = an_object({"models": array(ref("GoogleModel")), "nextPageToken": TEXT}, ["models"])


def _object(**properties: Schema) -> Schema:
    return an_object({name: nullable(schema) for name, schema in properties.items()})


_BLOB = _object(mimeType=TEXT, data=TEXT)
_PART = _object(
    text=TEXT,
    thought=FLAG,
    thoughtSignature=TEXT,
    inlineData=_BLOB,
    fileData=_object(mimeType=TEXT, fileUri=TEXT),
    functionCall=_object(id=TEXT, name=TEXT, args=OBJECT),
    functionResponse=_object(id=TEXT, name=TEXT, response=OBJECT, parts=array(_object(inlineData=_BLOB))),
)
_GENERATION = _object(
    temperature=NUMBER,
    topP=NUMBER,
    topK=NUMBER,
    seed=WHOLE,
    candidateCount=_NOT_NEGATIVE,
    maxOutputTokens=_NOT_NEGATIVE,
    stopSequences=array(TEXT),
    responseMimeType=TEXT,
    responseSchema=OBJECT,
    responseJsonSchema=OBJECT,
    thinkingConfig=_object(includeThoughts=FLAG, thinkingBudget=WHOLE, thinkingLevel=TEXT),
)
_FUNCTION = _object(name=TEXT, description=TEXT, parameters=OBJECT, parametersJsonSchema=OBJECT)
_CHAT: dict[str, Schema] = {
    "contents": array(ref("GoogleContent"), 1),
    "systemInstruction": nullable(ref("GoogleContent")),
    "tools": nullable(array(_object(functionDeclarations=array(_FUNCTION)))),
    "toolConfig": nullable(_object(functionCallingConfig=_object(mode=TEXT, allowedFunctionNames=array(TEXT)))),
    "generationConfig": nullable(_GENERATION),
    "safetySettings": nullable(array(OBJECT)),
    "labels": nullable(OBJECT),
    "serviceTier": nullable(TEXT),
}
_EMBEDDING: dict[str, Schema] = {
    "content": ref("GoogleContent"),
    "taskType": nullable(TEXT),
    "title": nullable(TEXT),
    "outputDimensionality": nullable({"type": "integer", "minimum": 0, "maximum": 1000}),
}
_STATUS = an_object({"code": {"type": "integer"}, "message": TEXT, "status": TEXT, "details": array(OBJECT)})

SCHEMAS: dict[str, Schema] = {
    "GoogleError": an_object({"error": {**_STATUS, "required": ["code", "message", "status"]}}, ["error"]),
    "GoogleModel": an_object({"name": TEXT, "supportedGenerationMethods": array(TEXT)}, ["name"]),
    "GoogleModels": _CALLED,
    "GoogleContent": _object(role=TEXT, parts=array(_PART)),
    "GenerateContentRequest": an_object(_CHAT, ["contents"], **_NOTHING_ELSE),
    "GenerateContentResponse": an_object(
        {"candidates": array(OBJECT), "usageMetadata": OBJECT, "modelVersion": TEXT, "responseId": TEXT}, ["candidates"]
    ),
    "CountTokensResponse": an_object({"totalTokens": {"type": "integer"}}, ["totalTokens"]),
    "EmbedContentRequest": an_object(_EMBEDDING, ["content"], **_NOTHING_ELSE),
    "EmbedContentResponse": an_object({"embedding": OBJECT}, ["embedding"]),
    "BatchEmbedContentsRequest": an_object(
        {"requests": array(an_object({**_EMBEDDING, "model": nullable(TEXT)}, ["content"], **_NOTHING_ELSE), 1)},
        ["requests"],
        **_NOTHING_ELSE,
    ),
    "BatchEmbedContentsResponse": an_object({"embeddings": array(OBJECT)}, ["embeddings"]),
}
