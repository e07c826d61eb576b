"""Compares the proxy's assumptions about LiteLLM with the installed LiteLLM."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest

from container.config.deployment import MAP_FILE, price_map
from container.config.providers import DIRECT, ENGINE_NEEDS, ENGINE_PROVIDERS
from container.engine import engine_environment
from container.request.authority import forbidden
from container.request.engine_body import FIELDS, foreign_fields
from dev import litellm_prices
from tests.processes import ROOT

_ASK = """
import json, typing
import openai.types.audio.speech_create_params as speech
import openai.types.audio.transcription_create_params as transcription
import openai.types.audio.translation_create_params as translation
import openai.types.chat.completion_create_params as chat
import openai.types.completion_create_params as completion
import openai.types.embedding_create_params as embedding
import openai.types.image_create_variation_params as variation
import openai.types.image_edit_params as edit
import openai.types.image_generate_params as generate
import openai.types.moderation_create_params as moderation
import openai.types.responses.response_create_params as responses
import anthropic.types.message_count_tokens_params as count
import anthropic.types.message_create_params as message
from litellm.proxy.auth.auth_utils import _BANNED_REQUEST_BODY_PARAMS
from litellm.proxy.proxy_cli import run_server
from litellm.types.router import CredentialLiteLLMParams, GenericLiteLLMParams, LiteLLM_Params
from litellm.types.utils import LlmProviders, StandardCallbackDynamicParams, all_litellm_params

apis = (
    chat.CompletionCreateParamsBase, completion.CompletionCreateParamsBase, embedding.EmbeddingCreateParams,
    responses.ResponseCreateParamsBase, generate.ImageGenerateParamsBase, edit.ImageEditParamsBase,
    variation.ImageCreateVariationParams, transcription.TranscriptionCreateParamsBase,
    translation.TranslationCreateParams, speech.SpeechCreateParams, moderation.ModerationCreateParams,
    message.MessageCreateParamsBase, count.MessageCountTokensParams,
)
print(json.dumps({
    "providers": [p.value for p in LlmProviders],
    "parameters": sorted({
        *all_litellm_params, *CredentialLiteLLMParams.model_fields, *GenericLiteLLMParams.model_fields,
        *LiteLLM_Params.model_fields, *StandardCallbackDynamicParams.__annotations__, *_BANNED_REQUEST_BODY_PARAMS,
    }),
    "options": [o.envvar for o in run_server.params if getattr(o, "envvar", None)],
    "api": sorted({name for api in apis for name in api.__annotations__}),
    "by_api": {api.__module__: sorted(api.__annotations__) for api in apis},
}))
"""

# Parameters of LiteLLM that clients may send, and why.
HARMLESS = {
    "model": "what a request is about; the proxy puts the deployment's name in its place",
    "fallbacks": "the proxy's own: public model names, taken out of the body",
    "num_retries": "the proxy's own, taken out of the body",
    "timeout": "the proxy's own, taken out of the body",
    "metadata": "OpenAI's; taken out on the way to the engine",
    "tags": "taken out on the way to the engine",
    "assistant_continue_message": "shapes the request's own prompt",
    "user_continue_message": "shapes the request's own prompt",
    "ensure_alternating_roles": "shapes the request's own prompt",
    "supports_system_message": "shapes the request's own prompt",
    "roles": "shapes the request's own prompt",
    "bos_token": "shapes the request's own prompt",
    "eos_token": "shapes the request's own prompt",
    "final_prompt_value": "shapes the request's own prompt",
    "enable_prompt_caching": "the provider's cache of the request's own prompt",
    "enable_json_schema_validation": "checks the request's own answer",
    "merge_reasoning_content_in_choices": "shapes the request's own answer",
    "stream_chunk_size": "shapes the request's own answer",
    "ttl": "LM Studio's; LiteLLM's is that of a cache that no request can switch on",
}


@pytest.fixture(scope="module")
def installed() -> dict[str, Any]:
    """Data from LiteLLM, read in a separate process. Importing it takes seconds and hundreds of megabytes."""
    environment = {"PATH": os.environ["PATH"], "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run([sys.executable, "-c", _ASK], env=environment, capture_output=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.splitlines()[-1])


def test_engine_providers_are_litellms(installed):
    assert set(installed["providers"]) == ENGINE_PROVIDERS


def test_directly_called_providers_have_litellms_names():
    assert DIRECT.keys() <= ENGINE_PROVIDERS
    assert ENGINE_NEEDS.keys() <= ENGINE_PROVIDERS
    # In both: providers with some models called directly and others through the engine.
    assert all(DIRECT[name].models for name in DIRECT.keys() & ENGINE_NEEDS.keys())


def test_clients_may_send_only_harmless_litellm_parameters(installed):
    assert {name for name in installed["parameters"] if not forbidden([name])} == HARMLESS.keys()


def test_clients_may_send_every_field_of_openais_and_anthropics_apis(installed):
    assert len(installed["api"]) > 80
    # The gateway decides which workspace pays.
    assert [name for name in installed["api"] if forbidden([name])] == ["workspace_id"]


# Fields of Anthropic's API that select who pays or raise the price.
NOT_SHOWN = {"workspace_id", "user_profile_id", "speed", "inference_geo", "diagnostics"}
MODULES = {
    "chat.completion_create_params": "chat_completions",
    "types.completion_create_params": "completions",
    "embedding_create_params": "embeddings",
    "response_create_params": "responses",
    "image_generate_params": "image_generation",
    "image_edit_params": "image_edit",
    "image_create_variation_params": "image_variation",
    "transcription_create_params": "transcription",
    "translation_create_params": "translation",
    "speech_create_params": "speech",
    "moderation_create_params": "moderations",
    "message_create_params": "messages",
    "message_count_tokens_params": "count_tokens",
}


def test_engine_gets_the_fields_of_each_api(installed):
    assert len(installed["by_api"]) == len(MODULES)
    for module, names in installed["by_api"].items():
        [endpoint] = [name for end, name in MODULES.items() if module.endswith(end)]
        hidden = NOT_SHOWN if endpoint in ("messages", "count_tokens") else set()
        assert set(foreign_fields(endpoint, names)) <= hidden, endpoint


def test_engine_gets_no_authority_field(installed):
    shown = set().union(*FIELDS.values())
    assert shown & {name for name in installed["parameters"] if name not in HARMLESS} == set()
    assert {name for name in shown if forbidden([name])} == set()


def test_no_variable_of_ours_is_an_option_of_the_litellm_command(installed):
    assert {"PORT", "NUM_WORKERS"} <= set(installed["options"])
    assert (
        engine_environment(dict.fromkeys(installed["options"], "x"), "k").keys() == engine_environment({}, "k").keys()
    )


def test_the_price_map_is_the_installed_litellms():
    """`python -m dev.litellm_prices` writes it."""
    assert litellm_prices.text() == MAP_FILE.read_text()
    assert price_map() == litellm_prices.shipped()


def test_pinned_version_is_installed():
    pinned = [line for line in (ROOT / "pyproject.toml").read_text().splitlines() if "litellm[proxy]==" in line]
    assert [line.strip() for line in pinned] == [f'"litellm[proxy]=={version("litellm")}",']
