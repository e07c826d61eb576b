"""Usage-based routing counts the tokens of a prompt, not the bytes of its images, audio and files."""

import base64
import json
from types import SimpleNamespace
from typing import Any

import pytest

from container.handlers.completions import RequestParser
from container.handlers.response_state import ResponseState
from container.routing.router import Router
from tests.routing.support import config, deployment
from worker.core.api.endpoints import find

DATA = base64.b64encode(bytes(600_000)).decode()
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}}
SOUND = {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}
PDF = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{DATA}"}}
TEXT = {"type": "text", "text": "What is this?"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}
DOCUMENT = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": DATA}}
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"


def tokens(path: str, body: dict[str, Any], strategy: str = "usage-based-routing-v2") -> int:
    router = Router(config([deployment("a", "x", tpm=30_000)], routing_strategy=strategy))
    exchange: Any = SimpleNamespace(
        headers={},
        dialect="anthropic" if path == MESSAGES else "openai",
        models="[]",
        aliases={},
        holder="master",
        unsealed=False,
        header=lambda name: None,
    )
    raw = json.dumps({"model": "a", "max_tokens": 10, **body}).encode()
    return (
        RequestParser(router, 100, ResponseState((), router, None, None))
        .read(exchange, find("POST", path), raw)
        .request.route.tokens
    )


@pytest.mark.parametrize(
    ("path", "field", "part"),
    [
        (CHAT, "messages", PICTURE),
        (CHAT, "messages", SOUND),
        (CHAT, "messages", PDF),
        (MESSAGES, "messages", IMAGE),
        (MESSAGES, "messages", DOCUMENT),
    ],
)
def test_inline_data_does_not_count_by_its_bytes(path: str, field: str, part: dict[str, Any]):
    counted = tokens(path, {field: [{"role": "user", "content": [TEXT, part]}]})
    assert 100 < counted < 5_000


def test_inline_data_in_the_responses_api_does_not_count_by_its_bytes():
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{DATA}"}
    body = {"input": [{"role": "user", "content": [picture]}], "max_output_tokens": 10}
    raw = {name: value for name, value in body.items() if name != "max_tokens"}
    router = Router(config([deployment("a", "x")], routing_strategy="usage-based-routing-v2"))
    exchange: Any = SimpleNamespace(
        headers={}, dialect="openai", models="[]", aliases={}, holder="master", unsealed=False, header=lambda name: None
    )
    read = RequestParser(router, 100, ResponseState((), router, None, None)).read(
        exchange, find("POST", RESPONSES), json.dumps({"model": "a", **raw}).encode()
    )
    assert 100 < read.request.route.tokens < 5_000


def test_text_counts_fully():
    body = {"messages": [{"role": "user", "content": "word " * 4000}]}
    assert 3_000 < tokens(CHAT, body) <= 5_100


def test_other_strategies_do_not_count_tokens():
    body = {"messages": [{"role": "user", "content": [TEXT, PICTURE]}]}
    assert tokens(CHAT, body, "simple-shuffle") > 100_000
