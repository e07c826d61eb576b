"""What Gemini itself gets from clients of its API."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from container.config.deployment import Deployment
from container.formats import Formats
from container.formats.client_apis.gemini import ToGemini
from container.formats.client_apis.gemini.request import sealed_signature
from container.request.client_apis import parse_generate_content

from .conftest import Deploy, asked

HELLO = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
VERTEX = {"vertex_project": "p", "vertex_location": "europe-west4"}


@pytest.fixture
def sent(formats: Formats):
    def build(d: Deployment, body: dict[str, Any], **more: Any) -> dict[str, Any]:
        return orjson.loads(
            formats.of(d, d.model, "generate_content").request(d, d.model, replace(asked(body), **more)).body
        )

    return build


def at_vertex(deploy: Deploy, model: str) -> Deployment:
    return deploy(f"vertex_ai/{model}", api_key=None, **VERTEX)


@pytest.mark.parametrize(
    ("asked_for", "added", "wanted"),
    [
        (None, None, None),
        (None, 4096, 4096),
        (7, None, 7),
        (7, 4096, 7),
        (50_000, 4096, 4096),  # the reservation does not cover the client's limit
        (1_000_000, None, 65536),  # more than the model's
        (0, 4096, 4096),
    ],
)
def test_the_output_limit_is_never_above_what_is_reserved(deploy: Deploy, sent, asked_for, added, wanted):
    generation = {} if asked_for is None else {"generationConfig": {"maxOutputTokens": asked_for}}
    body = sent(deploy("gemini/gemini-2.5-pro"), {**HELLO, **generation}, output_limit=added, limited=added is not None)
    assert body.get("generationConfig", {}).get("maxOutputTokens") == wanted


def test_presets_stand_behind_the_clients_fields(deploy: Deploy, sent):
    d = deploy("gemini/gemini-2.5-pro", temperature=0.1, max_tokens=9, seed=4, reasoning_effort="low")
    body = sent(d, {**HELLO, "generation_config": {"temperature": 0.9}})
    assert body["generationConfig"] == {
        "temperature": 0.9,
        "seed": 4,
        "maxOutputTokens": 9,
        "thinkingConfig": {"thinkingBudget": 1024, "includeThoughts": True},
    }
    assert body["contents"] == HELLO["contents"]
    assert sent(d, {**HELLO, "generationConfig": {"maxOutputTokens": 5}})["generationConfig"]["maxOutputTokens"] == 5


def test_new_fields_of_google_are_passed_on(deploy: Deploy, sent):
    more = {"generationConfig": {"somethingNew": {"a_b": 1}}, "tools": [{"google_search": {}}, {"newTool": {"x_y": 1}}]}
    body = sent(deploy("gemini/gemini-2.5-pro"), {**HELLO, **more})
    assert body["generationConfig"] == {"somethingNew": {"a_b": 1}}
    assert body["tools"] == [{"googleSearch": {}}, {"newTool": {"x_y": 1}}]


def test_arguments_and_schemas_keep_their_names(deploy: Deploy, sent):
    call = {"functionCall": {"name": "f", "args": {"a_b": {"c_d": None}}}}
    answer = {"functionResponse": {"name": "f", "response": {"e_f": None}}}
    declared = {"name": "f", "parametersJsonSchema": {"properties": {"a_b": {"type": "object"}}}}
    contents = [*HELLO["contents"], {"role": "model", "parts": [call]}, {"role": "user", "parts": [answer]}]
    body = sent(
        deploy("gemini/gemini-2.5-pro"), {"contents": contents, "tools": [{"function_declarations": [declared]}]}
    )
    assert body["contents"] == contents
    assert body["tools"] == [{"functionDeclarations": [declared]}]


@pytest.mark.parametrize(("model", "signed"), [("gemini-2.5-pro", False), ("gemini-3-pro-preview", True)])
def test_another_models_signature_is_replaced(deploy: Deploy, sent, model: str, signed: bool):
    theirs = sealed_signature([{"type": "thinking", "thinking": "hm", "signature": "s"}])
    parts = [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": one} for one in (theirs, "c2ln")]
    body = sent(deploy(f"gemini/{model}"), {"contents": [*HELLO["contents"], {"role": "model", "parts": parts}]})
    first, second = body["contents"][1]["parts"]
    assert ("thoughtSignature" in first) is signed
    assert first.get("thoughtSignature") != theirs
    assert second["thoughtSignature"] == "c2ln"


@pytest.mark.parametrize("nested", [False, True])
def test_counting_uses_each_services_form(deploy: Deploy, formats: Formats, nested: bool):
    fields = {**HELLO, "systemInstruction": {"parts": [{"text": "Be brief."}]}}
    body = {"generateContentRequest": {"model": "models/other", **fields}} if nested else fields
    request = parse_generate_content("google_count_tokens", orjson.dumps(body), "m", events=False)
    studio, vertex = deploy("gemini/gemini-2.5-pro"), at_vertex(deploy, "gemini-2.5-pro")
    said = formats.of(studio, studio.model, request.endpoint).request(studio, studio.model, request)
    assert orjson.loads(said.body) == {"generateContentRequest": {"model": "models/gemini-2.5-pro", **fields}}
    said = formats.of(vertex, vertex.model, request.endpoint).request(vertex, vertex.model, request)
    assert orjson.loads(said.body) == fields


@pytest.mark.parametrize(
    ("model", "endpoint", "native"),
    [
        ("gemini/gemini-2.5-pro", "generate_content", True),
        ("gemini/gemini-2.5-pro", "google_count_tokens", True),
        ("gemini/gemini-embedding-001", "embed_content", True),
        ("vertex_ai/gemini-2.5-pro", "generate_content", True),
        ("vertex_ai/claude-sonnet-4-5", "generate_content", False),
        ("vertex_ai/text-embedding-005", "embed_content", False),
        ("openai/gpt-4o", "generate_content", False),
        ("openai/text-embedding-3-small", "batch_embed_contents", False),
        ("bedrock/anthropic.claude-3", "generate_content", False),
    ],
)
def test_who_gets_the_request_as_it_is(deploy: Deploy, formats: Formats, model: str, endpoint: str, native: bool):
    d = at_vertex(deploy, model.partition("/")[2]) if model.startswith("vertex_ai") else deploy(model)
    assert isinstance(formats.of(d, d.model, endpoint), ToGemini) is native


@pytest.mark.parametrize(
    ("endpoint", "stream", "end"),
    [
        ("generate_content", False, ":generateContent"),
        ("generate_content", True, ":streamGenerateContent?alt=sse"),
        ("google_count_tokens", False, ":countTokens"),
        ("embed_content", False, ":embedContent"),
        ("batch_embed_contents", False, ":batchEmbedContents"),
    ],
)
def test_the_method_is_in_the_url(deploy: Deploy, formats: Formats, endpoint: str, stream: bool, end: str):
    d = deploy("gemini/gemini-embedding-001" if "embed" in endpoint else "gemini/gemini-2.5-pro")
    url = formats.of(d, d.model, endpoint).url(d, d.base, d.model, endpoint, stream=stream)
    assert url == f"{d.base}/models/{d.model}{end}"
