"""What is reserved for a request of Gemini's API: never less than for the chat that it becomes."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.config.deployment import Deployment
from container.formats.client_apis.gemini.request import chat
from container.formats.shared.wire import Unsupported
from container.request.client_apis import parse_generate_content
from worker.core.api.errors import ApiError
from worker.core.pricing import prices, quote
from worker.core.pricing.estimate import CL100K, LARGEST, O200K, prompt
from worker.core.pricing.generate_content import terms
from worker.core.pricing.quote import Quoter

PRICE: Any = {"input": 1000, "output": 5000, "image_tokens": 1000, "max_input": 1_000_000}
GENERATE = "generate_content"
WORDS = st.text(max_size=40)
NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_-]{0,20}", fullmatch=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=3)
SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["STRING", "INTEGER", "BOOLEAN"])},
        optional={
            "description": WORDS,
            "nullable": st.booleans(),
            "enum": st.lists(WORDS, min_size=1, max_size=3),
            "minLength": st.integers(0, 99),
        },
    ),
    lambda inner: (
        st.fixed_dictionaries({"type": st.just("OBJECT"), "properties": st.dictionaries(NAMES, inner, max_size=3)})
        | st.fixed_dictionaries({"type": st.just("ARRAY"), "items": inner})
    ),
    max_leaves=5,
)
MIME = st.sampled_from(["image/png", "audio/wav", "application/pdf", "text/plain", "video/mp4"])
BLOBS = st.fixed_dictionaries({"mimeType": MIME, "data": st.sampled_from(["", "SGk=", "AAAA"])})
SAID = st.one_of(
    st.fixed_dictionaries({"text": WORDS}),
    st.fixed_dictionaries({"inlineData": BLOBS}),
    st.fixed_dictionaries({"fileData": st.just({"mimeType": "image/png", "fileUri": "https://a.example/a.png"})}),
)
ANSWERED = st.one_of(
    st.fixed_dictionaries({"text": WORDS}, optional={"thought": st.booleans(), "thoughtSignature": st.just("c2ln")}),
    st.fixed_dictionaries({"inlineData": BLOBS}),
    st.fixed_dictionaries({"executableCode": st.fixed_dictionaries({"code": WORDS})}),
)
CALLS = st.lists(
    st.tuples(NAMES, OBJECTS, OBJECTS, st.none() | st.just("c2lnbmVk"), st.none() | NAMES), min_size=1, max_size=3
)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [{"role": "user", "parts": draw(st.lists(SAID, min_size=1, max_size=3))}]
    for _ in range(draw(st.integers(0, 3))):
        calls, results = [], []
        for name, args, answer, signature, id in draw(CALLS):
            given = {"id": id} if id else {}
            call = {"functionCall": {"name": name, "args": args, **given}}
            calls.append({**call, **({"thoughtSignature": signature} if signature else {})})
            results.append({"functionResponse": {"name": name, "response": answer, **given}})
        made.append({"role": "model", "parts": [*draw(st.lists(ANSWERED, max_size=2)), *calls]})
        made.append({"role": "user", "parts": [*results, *draw(st.lists(SAID, max_size=2))]})
    return made


BODIES = st.fixed_dictionaries(
    {"contents": conversations()},
    optional={
        "systemInstruction": st.fixed_dictionaries(
            {"parts": st.lists(st.fixed_dictionaries({"text": WORDS}), max_size=2)}
        ),
        "tools": st.lists(
            st.fixed_dictionaries(
                {
                    "functionDeclarations": st.lists(
                        st.fixed_dictionaries({"name": NAMES}, optional={"description": WORDS, "parameters": SCHEMAS}),
                        max_size=3,
                    )
                }
            ),
            max_size=2,
        ),
        "toolConfig": st.just({"functionCallingConfig": {"mode": "AUTO"}}),
        "generationConfig": st.fixed_dictionaries(
            {},
            optional={
                "maxOutputTokens": st.integers(1, 100_000),
                "candidateCount": st.integers(1, 8),
                "responseSchema": SCHEMAS,
                "thinkingConfig": st.just({"thinkingBudget": 100}),
            },
        ),
    },
)


def deployment() -> Deployment:
    return Deployment("id", "m", "hosted_vllm", "x", "direct", (), ())


def reserved(endpoint: str, fields: dict[str, Any], price: Any = PRICE) -> quote.Quote:
    return quote.most(fields, prompt(fields), [("m", price)], prices.charge_of_body(endpoint, fields), 4096)


@given(BODIES)
def test_the_reservation_covers_the_chat(body: dict[str, Any]):
    request = parse_generate_content(GENERATE, json.dumps(body).encode(), "m", events=False)
    try:
        as_chat = chat(request.body, deployment(), "x", drop_params=True)
    except Unsupported:
        return
    for tokenizer in (LARGEST, O200K, CL100K):
        price = {**PRICE, "tokenizer": tokenizer}
        ours, chats = reserved(GENERATE, request.priced, price), reserved("chat_completions", as_chat, price)
        assert ours.amount is not None
        assert chats.amount is not None
        assert ours.amount >= chats.amount
        assert ours.tokens >= chats.tokens
        assert ours.add_limit == chats.add_limit


def snake(value: Any) -> Any:
    """Google's other spelling of the fields that the reservation depends on."""
    names = {
        "systemInstruction": "system_instruction",
        "generationConfig": "generation_config",
        "maxOutputTokens": "max_output_tokens",
        "candidateCount": "candidate_count",
        "inlineData": "inline_data",
        "mimeType": "mime_type",
        "functionCall": "function_call",
        "functionResponse": "function_response",
        "functionDeclarations": "function_declarations",
        "responseSchema": "response_schema",
        "toolConfig": "tool_config",
    }
    if isinstance(value, list):
        return [snake(one) for one in value]
    return {names.get(n, n): snake(v) for n, v in value.items()} if isinstance(value, dict) else value


@given(BODIES)
def test_both_spellings_reserve_the_same(body: dict[str, Any]):
    camel, other = (terms(GENERATE, one) for one in (body, snake(body)))
    assert reserved(GENERATE, other).amount == reserved(GENERATE, camel).amount


@given(BODIES)
def test_the_edge_reserves_what_the_proxy_would(body: dict[str, Any]):
    raw = json.dumps(body).encode()
    quoter = Quoter([{"group": "m", "price": PRICE, "needs": []}], {"m": [0]}, lambda needs: True, 4096)
    at_the_edge = quoter.quote(GENERATE, raw, "m")
    assert at_the_edge is not None
    alone = reserved(GENERATE, parse_generate_content(GENERATE, raw, "m", events=False).priced)
    assert at_the_edge.quote == alone


FILM: Any = {"fileUri": "https://youtu.be/x"}
ASK: Any = [{"parts": [{"text": "Hi"}]}]


@pytest.mark.parametrize(
    "body",
    [
        {"contents": ASK, "generationConfig": {"candidate__count": 8}},
        {"contents": ASK, "generationConfig": {"candidateCount_": 8}},
        {"contents": ASK, "generationConfig": {"maxOutput_tokens": 100_000}},
        {"contents": ASK, "generationConfig_": {"candidateCount": 8}},
        {"contents": ASK, "service__tier": "priority"},
        {"contents": ASK, "tools_": [{"googleSearch": {}}]},
        {"contents": [{"parts": [{"file_Data": FILM}]}]},
        {"contents": [{"parts_": [{"file_data": FILM}]}]},
    ],
    ids=str,
)
def test_a_name_that_google_does_not_know_is_not_read_as_a_known_one(body: dict[str, Any]):
    """Otherwise the request would be sent with more than the edge has reserved."""
    sent = None
    with contextlib.suppress(ApiError):
        sent = parse_generate_content(GENERATE, json.dumps(body).encode(), "m", events=False).priced
    assert sent in (None, terms(GENERATE, body))


@pytest.mark.parametrize(
    ("generation", "tokens"),
    [
        ({"maxOutputTokens": 10}, 10),
        ({"max_output_tokens": 10, "candidate_count": 3}, 30),
        ({}, 4096),
        ({"maxOutputTokens": 0}, 4096),
        ({"maxOutputTokens": "10"}, 4096),  # the proxy refuses it
    ],
)
def test_the_output_limit(generation: dict[str, Any], tokens: int):
    bare = {"input": 0, "output": 1_000_000_000, "image_tokens": 0}
    found, one = (
        reserved(GENERATE, terms(GENERATE, {"contents": [], "generationConfig": asked}), bare)
        for asked in (generation, {"maxOutputTokens": 1})
    )
    assert one.amount
    assert found.amount == tokens * one.amount
    assert found.add_limit == (None if tokens in (10, 30) else 4096)


@pytest.mark.parametrize(
    ("body", "unbounded"),
    [
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "video/mp4", "data": "AA"}}]}]}, "inlineData"),
        ({"contents": [{"parts": [{"inline_data": {"data": "AA"}}]}]}, "inlineData"),
        ({"contents": [{"parts": [{"fileData": {"fileUri": "https://youtu.be/x"}}]}]}, "fileData"),
        ({"contents": [], "tools": [{"googleSearch": {}}]}, "googleSearch"),
        ({"contents": [], "tools": [{"url_context": {}, "functionDeclarations": []}]}, "url_context"),
    ],
)
def test_content_of_unknown_size_reserves_the_window(body: dict[str, Any], unbounded: str):
    fields = terms(GENERATE, body)
    assert prompt(fields).unbounded == (unbounded,)
    assert reserved(GENERATE, fields, {k: v for k, v in PRICE.items() if k != "max_input"}).amount is None


def test_images_count():
    part = {"inlineData": {"mimeType": "image/png", "data": "A" * 1000}}
    assert prompt(terms(GENERATE, {"contents": [{"parts": [part, part]}]})).images == 2


def test_embeddings_are_read_one_by_one():
    one = {"content": {"parts": [{"text": "word"}]}}
    fields = terms("batch_embed_contents", {"requests": [one, one]})
    assert fields["input"] == ["word", "word"]
    assert reserved("batch_embed_contents", fields).add_limit is None
    small = {**PRICE, "max_input": 1}
    assert reserved("batch_embed_contents", fields, small).tokens == 2


def test_counting_tokens_is_free():
    body = {"generateContentRequest": {"contents": [{"parts": [{"text": "Hi"}]}]}}
    assert reserved("google_count_tokens", terms("google_count_tokens", body)).amount == 0
