"""Charges for pages that Gemini fetched, reported in the response or visible only in the request."""

import orjson
import pytest

from tests.accounting.conftest import Ledgered
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.processes import StartProxy

SEARCHED = {
    "candidates": [
        {
            "content": {"parts": [{"text": "hi"}], "role": "model"},
            "finishReason": "STOP",
            "index": 0,
            "groundingMetadata": {"webSearchQueries": ["q"]},
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 10,
        "candidatesTokenCount": 1,
        "toolUsePromptTokenCount": 500_000,
        "totalTokenCount": 500_011,
    },
}


@pytest.fixture
def gateway(proxy: StartProxy, fake: FakeProvider) -> Ledgered:
    params = {"model": "gemini/gemini-2.5-flash", "api_base": fake.gemini_base, "api_key": "k"}
    return Ledgered(proxy({"model_list": [{"model_name": "gem", "litellm_params": params}]}))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("tools", "prompt"), [(("googleSearch",), 10), (("googleSearch", "urlContext"), 500_010)])
def test_fetched_pages_are_charged_beside_a_search(
    gateway: Ledgered, fake: FakeProvider, stream: bool, tools: tuple[str, ...], prompt: int
) -> None:
    said = orjson.dumps(SEARCHED)
    fake.always(Behaviour(raw=(b"data: " + said + b"\n\n" if stream else said,)))
    reply = gateway.ask(model="gem", stream=stream, max_tokens=10, tools=[{name: {}} for name in tools])
    assert reply.status_code == 200, reply.text
    gateway.settled()
    [line] = gateway.logs()
    assert (line["prompt_tokens"], line["completion_tokens"]) == (prompt, 1)
