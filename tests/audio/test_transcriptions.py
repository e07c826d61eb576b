"""Transcriptions and translations with OpenAI's client, from providers with OpenAI's endpoints, without the engine."""

from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.fakes.behaviour import Behaviour, failing
from tests.fakes.formats.audio import HEARD, TEXTS, fields
from tests.fakes.server import FakeProvider
from tests.processes import MASTER_KEY, RunningProxy, StartProxy

SOUND = ("a.wav", b"RIFF....WAVE")


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy, providers: FakeProvider) -> RunningProxy:
    at_fake = {"api_base": providers.openai_base, "api_key": "sk-provider"}
    azure = {"api_base": providers.url, "api_key": "az-provider", "api_version": "2024-10-21"}
    price = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.01, "max_input_tokens": 1000}
    return module_proxy(
        {
            "model_list": [
                {"model_name": "ears", "litellm_params": {"model": "openai/gpt-4o-transcribe", **at_fake}},
                {"model_name": "azure", "litellm_params": {"model": "azure/whisper", **azure}},
                {
                    "model_name": "priced",
                    "litellm_params": {"model": "openai/gpt-4o-transcribe", **at_fake},
                    "model_info": {**price, "input_cost_per_audio_token": 0.002},
                },
                {"model_name": "claude", "litellm_params": {"model": "anthropic/claude-sonnet-4-6", "api_key": "k"}},
                {"model_name": "mock", "litellm_params": {"model": "openai/x", "mock_response": "Hi"}},
            ],
            "router_settings": {"num_retries": 0, "cooldown_time": 60},
        }
    )


@pytest.fixture
def client(gateway: RunningProxy) -> OpenAI:
    return gateway.client()


def test_a_json_transcription(client: OpenAI, provider: FakeProvider):
    answer = client.audio.transcriptions.create(model="ears", file=SOUND, language="de")
    assert answer.text == HEARD
    assert provider.last.path == "/v1/audio/transcriptions"
    assert fields(provider.last) == {"model": "gpt-4o-transcribe", "language": "de"}
    assert SOUND[1] in provider.last.raw


@pytest.mark.parametrize("format", ["text", "srt", "vtt"])
@pytest.mark.parametrize("model", ["ears", "azure"])
def test_plain_text_is_passed_through(gateway: RunningProxy, provider: FakeProvider, format: str, model: str):
    answer = httpx.post(
        f"{gateway.url}/v1/audio/transcriptions",
        data={"model": model, "response_format": format},
        files={"file": SOUND},
        headers={"authorization": f"Bearer {MASTER_KEY}"},
    )
    assert (answer.status_code, answer.text) == (200, TEXTS[format])
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_a_streamed_transcription(client: OpenAI, provider: FakeProvider):
    events: Any = client.audio.transcriptions.create(model="ears", file=SOUND, stream=True)
    kinds = [(event.type, getattr(event, "delta", None) or event.text) for event in events]
    assert kinds[-1] == ("transcript.text.done", HEARD)
    assert "".join(text for kind, text in kinds if kind == "transcript.text.delta") == HEARD


def test_a_translation(client: OpenAI, provider: FakeProvider):
    assert client.audio.translations.create(model="ears", file=SOUND).text == HEARD
    assert provider.last.path == "/v1/audio/translations"


def test_azure_has_the_deployment_in_the_path(client: OpenAI, provider: FakeProvider):
    client.audio.transcriptions.create(model="azure", file=SOUND)
    assert (provider.last.path, provider.last.query) == (
        "/openai/deployments/whisper/audio/transcriptions",
        {"api-version": "2024-10-21"},
    )
    assert provider.last.headers["api-key"] == "az-provider"


def test_a_provider_without_translations_is_a_clear_error(client: OpenAI, provider: FakeProvider):
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.translations.create(model="claude", file=SOUND)
    assert caught.value.param == "model"


def test_a_server_without_the_endpoint_keeps_serving_other_requests(client: OpenAI, provider: FakeProvider):
    provider.queue(Behaviour(status=404, raw=(b'{"detail": "Not Found"}',)))
    with pytest.raises(openai.BadRequestError):
        client.audio.transcriptions.create(model="ears", file=SOUND)
    assert client.audio.transcriptions.create(model="ears", file=SOUND).text == HEARD


def test_the_providers_error_is_passed_on(client: OpenAI, provider: FakeProvider):
    provider.queue(failing(400, message="Audio file might be corrupted or unsupported"))
    with pytest.raises(openai.BadRequestError, match="corrupted"):
        client.audio.transcriptions.create(model="ears", file=SOUND)


@pytest.mark.parametrize("stream", [False, True])
def test_audio_is_charged_by_its_tokens(gateway: RunningProxy, provider: FakeProvider, stream: bool):
    admin = {"authorization": f"Bearer {MASTER_KEY}"}
    made = httpx.post(f"{gateway.url}/key/generate", json={"max_budget": 100}, headers=admin).json()
    client = gateway.client(api_key=made["key"])
    answer: Any = client.audio.transcriptions.create(model="priced", file=SOUND, stream=stream)
    assert list(answer)
    info = httpx.get(f"{gateway.url}/key/info", params={"key": made["key"]}, headers=admin).json()
    assert info["info"]["spend"] == pytest.approx(4 * 0.001 + 10 * 0.002 + 5 * 0.01)
