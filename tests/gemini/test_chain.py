"""The shipped fallbacks claude-sonnet → gpt-4o → gemini-pro: three wire formats, and no engine."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from openai import OpenAI

from container.config.load import load
from tests.fakes.environment import pointing_at
from tests.fakes.server import FakeProvider
from tests.processes import ROOT, RunningProxy, StartProxy

CHAIN = ("claude-sonnet", "gpt-4o", "gemini-pro")
WIRE_FORMATS = ["anthropic", "openai", "gemini"]
PROVIDERS = ("claude-sonnet-4-6", "gpt-4o", "gemini-2.5-pro")
HELLO: Any = [{"role": "user", "content": "Hello there"}]
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped fallbacks alone, without cooldowns between the tests, most of which break a provider."""
    config: Any = yaml.safe_load((ROOT / "litellm_config.yaml").read_text())
    config["model_list"] = [entry for entry in config["model_list"] if entry["model_name"] in CHAIN]
    fallbacks = [chain for chain in config["router_settings"]["fallbacks"] if set(chain) <= set(CHAIN)]
    config["router_settings"] |= {"fallbacks": fallbacks, "disable_cooldowns": True, "num_retries": 0}
    path = tmp_path_factory.mktemp("chain") / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def chain_proxy(module_proxy: StartProxy, chain: Path, providers: FakeProvider) -> RunningProxy:
    return module_proxy(chain, environment=pointing_at(providers))


@pytest.fixture
def client(chain_proxy: RunningProxy) -> OpenAI:
    return chain_proxy.client()


def ask(client: OpenAI, model: str, stream: bool) -> tuple[str, str]:
    """The text and the model name."""
    answer: Any = client.chat.completions.create(model=model, messages=HELLO, stream=stream)
    if not stream:
        return answer.choices[0].message.content, answer.model
    chunks = list(answer)
    assert {c.choices[0].finish_reason for c in chunks if c.choices} == {None, "stop"}
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices), chunks[0].model


@STREAMED
@pytest.mark.parametrize(("model", "wire_format"), list(zip(CHAIN, WIRE_FORMATS, strict=True)))
def test_each_provider_is_called_in_its_own_format(client: OpenAI, provider: FakeProvider, model, wire_format, stream):
    assert ask(client, model, stream) == ("Hello there", model)
    assert [seen.format for seen in provider.requests] == [wire_format]


@STREAMED
@pytest.mark.parametrize("status", ["529", "429"])
@pytest.mark.parametrize("failing", [1, 2])
def test_overloaded_claude_falls_back(client: OpenAI, provider: FakeProvider, failing, status, stream):
    for model in PROVIDERS[:failing]:
        provider.always(status if model.startswith("claude") else "503", model=model)
    assert ask(client, "claude-sonnet", stream) == ("Hello there", CHAIN[failing])
    assert [seen.format for seen in provider.requests] == WIRE_FORMATS[: failing + 1]


@STREAMED
def test_claude_stream_that_starts_with_an_error_falls_back(client: OpenAI, provider: FakeProvider, stream):
    provider.always("error_first_event", model=PROVIDERS[0])
    provider.always("503", model=PROVIDERS[1])
    assert ask(client, "claude-sonnet", stream) == ("Hello there", "gemini-pro")


def test_engine_is_never_started(chain_proxy: RunningProxy, client: OpenAI, provider: FakeProvider, chain: Path):
    for model in CHAIN:
        for stream in (False, True):
            ask(client, model, stream)
    assert "engine_starting" not in chain_proxy.log()
    assert not load(chain, pointing_at(provider)).needs_engine


def test_shipped_config_needs_no_engine_for_these_keys(provider: FakeProvider):
    keys = {name: value for name, value in pointing_at(provider).items() if name.split("_")[0] in
            ("ANTHROPIC", "OPENAI", "GEMINI", "OPENROUTER", "GROQ", "AZURE", "GOOGLE")}  # fmt: skip
    config = load(ROOT / "litellm_config.yaml", keys)
    assert [d.group for d in config.deployments if d.kind == "engine" and not d.off] == []
    assert not config.needs_engine
