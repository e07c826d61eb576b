"""`success_callback` and `failure_callback`: every model goes through the engine, which calls them, streamed or not."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest

from tests.fakes import FakeProvider, failing
from tests.processes import RunningProxy, StartProxy

MODELS = ("gpt", "claude", "gemini")


class Receiver:
    """What LiteLLM's `generic_api` callback posts to."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["content-length"])))
                receiver.told += content if isinstance(content, list) else [content]
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for(self, words: str, status: str) -> dict[str, Any]:
        """What was told of the request that said `words`."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for one in list(self.told):
                if one["status"] == status and words in json.dumps(one["messages"]):
                    return one
            time.sleep(0.1)
        raise AssertionError(f"nobody was told of {words!r}: {[(t['status'], t['messages']) for t in self.told]}")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture(scope="module")
def called_back(module_proxy: StartProxy, providers: FakeProvider, receiver: Receiver) -> RunningProxy:
    """Models that would be called directly if it were not for the callbacks."""
    params = (
        {"model": "openai/gpt-4o", "api_base": providers.openai_base, "api_key": "sk-provider"},
        {"model": "anthropic/claude-sonnet-4-6", "api_base": providers.url, "api_key": "sk-ant-provider"},
        {"model": "gemini/gemini-2.5-flash", "api_base": providers.gemini_base, "api_key": "AIza-provider"},
    )
    return module_proxy(
        {
            "model_list": [
                {"model_name": name, "litellm_params": one} for name, one in zip(MODELS, params, strict=True)
            ],
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
            "litellm_settings": {"success_callback": ["generic_api"], "failure_callback": ["generic_api"]},
        },
        environment={
            "GENERIC_LOGGER_ENDPOINT": f"http://127.0.0.1:{receiver.server.server_port}/",
            "DEFAULT_FLUSH_INTERVAL_SECONDS": "1",  # LiteLLM's: how long it keeps lines to post them together, else 5
        },
    )


@pytest.mark.timeout(240)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("model", MODELS)
def test_an_answer_reaches_the_callback(
    called_back: RunningProxy, provider: FakeProvider, receiver: Receiver, model: str, stream: bool
):
    words = f"a word from {model}, {'streamed' if stream else 'plain'}"
    answer = called_back.client().chat.completions.create(
        model=model, messages=[{"role": "user", "content": words}], stream=stream
    )
    if stream:
        assert "".join(c.choices[0].delta.content or "" for c in answer if c.choices) == words
    told = receiver.wait_for(words, "success")
    assert words in json.dumps(told["response"])
    assert told["total_tokens"] > 0
    # Whoever is called directly sees us.
    assert [
        seen.headers["user-agent"] for seen in provider.requests if "litellm-router" in seen.headers["user-agent"]
    ] == []
    assert len(provider.requests) == 1


@pytest.mark.timeout(240)
@pytest.mark.parametrize("model", MODELS)
def test_a_failure_reaches_the_callback(
    called_back: RunningProxy, provider: FakeProvider, receiver: Receiver, model: str
):
    provider.always(failing(500))
    words = f"a word that {model} fails at"
    with pytest.raises(openai.APIStatusError):
        called_back.client().chat.completions.create(model=model, messages=[{"role": "user", "content": words}])
    assert receiver.wait_for(words, "failure")["error_str"]
