"""Tables of providers: which are called directly, which the engine supports, their addresses and keys."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

# Addresses. Messages never repeat one, because it may contain a password.

# Headers sent with every call.
JSON = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "litellm-router"}


class Address(NamedTuple):
    """The base URL of an OpenAI-compatible server and the headers that authenticate with it."""

    base: str
    headers: Mapping[str, str]


def wrong_address(base: str) -> str | None:
    """What is wrong with the address, phrased to follow its name in a message, or None."""
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number
        usable = False
    if not usable:
        return "is not an http(s) address."
    return "must not contain a query or fragment." if "?" in base or "#" in base else None


def origin(url: str) -> str:
    """The origin of a URL, such as `https://host:port`."""
    return "/".join(url.split("/", 3)[:3]).lower()


ENGINE_PROVIDERS: frozenset[str] = frozenset(
    """
    a2a a2a_agent ai21 ai21_chat aiml aiohttp_openai amazon_nova anthropic anthropic_text apertis assemblyai
    auto_router aws_polly aws_textract azure azure_ai azure_speech azure_text baseten bedrock bedrock_mantle
    black_forest_labs bytez cerebras charity_engine chatgpt chutes clarifai cloudflare codestral cognition
    cohere cohere_chat cometapi compactifai cortecs cursor custom custom_openai darkbloom dashscope databricks
    datarobot deepgram deepinfra deepseek docker_model_runner dotprompt edenai elevenlabs empower fal_ai
    featherless_ai fireworks_ai friendliai galadriel gdc gemini gigachat github github_copilot gradient_ai groq
    helicone heroku hosted_vllm huggingface humanloop hyperbolic inception infinity jina_ai lambda_ai langflow
    langfuse langgraph lemonade libertai litellm_agent litellm_proxy llamafile lm_studio manus maritalk meta
    meta_llama milvus minimax mistral modelscope mongodb moonshot morph nadir nano-gpt nebius neosantara
    nlp_cloud novita nscale nvidia_nim nvidia_riva oci ollama ollama_chat oobabooga openai openai_like
    openrouter ovhcloud parasail perplexity petals pg_vector pinstripes poe predibase prism publicai
    qwen_ai_platform qwencloud ragflow recraft reducto reka replicate runwayml s3_vectors sagemaker
    sagemaker_chat sagemaker_nova sail sambanova sap scaleway scx-ai snowflake soniox stability strands_decider
    synthetic tencent tensormesh text-completion-codestral text-completion-inception text-completion-openai
    together_ai topaz transcribe triton typesafe v0 valkey vercel_ai_gateway vertex_ai vertex_ai_beta vllm
    volcengine voyage wandb watsonx watsonx_text xai xiaomi_mimo xinference zai
    """.split()
)


class Direct(NamedTuple):
    """A provider that the proxy calls directly, in OpenAI's wire format or the one named by `format`
    (container/formats).

    `base` is the default address, and is empty for a self-hosted provider. The config or one of `base_variables`
    overrides it. Any of `key_variables` provides the key; an empty tuple means that no key is needed. `asks_usage` says
    whether the provider accepts `stream_options.include_usage`. `models` is a pattern of the models that the format
    supports. Other models go through the engine. `embeddings` is a pattern of models that clients of the provider's own
    API can use without the engine.
    """

    base: str
    key_variables: tuple[str, ...]
    base_variables: tuple[str, ...] = ()
    asks_usage: bool = True
    base_suffix: str = ""
    model_prefix: str = ""
    format: str = "openai"
    models: str = ""
    embeddings: str = ""

    def embeds(self, model: str) -> bool:
        return bool(self.embeddings) and re.match(self.embeddings, model) is not None

    def takes(self, model: str) -> bool:
        return not self.models or re.match(self.models, model) is not None


# Models that respond with text. The engine translates images, speech and embeddings.
_TEXT = r"(?!.*(?:image|-tts|embedding|native-audio|live|transcribe|computer-use|robotics))"
GEMINI_CHAT = rf"(?:gemini|gemma)-{_TEXT}"
GEMINI_EMBEDDINGS = r"(?:gemini-|text-)?embedding-"
# `gemini/<number>` is a tuned model.
VERTEX_CHAT = rf"claude-|gemini/\d+$|(?:gemini/)?gemini-{_TEXT}"

DIRECT: dict[str, Direct] = {
    "openai": Direct("https://api.openai.com/v1", ("OPENAI_API_KEY",), ("OPENAI_BASE_URL", "OPENAI_API_BASE")),
    "azure": Direct("", ("AZURE_API_KEY",), ("AZURE_API_BASE",)),
    "gemini": Direct(
        "https://generativelanguage.googleapis.com/v1beta",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        ("GEMINI_API_BASE",),
        format="gemini",
        models=GEMINI_CHAT,
        embeddings=GEMINI_EMBEDDINGS,
    ),
    "anthropic": Direct(
        "https://api.anthropic.com",
        ("ANTHROPIC_API_KEY",),
        ("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL"),
        format="anthropic",
    ),
    # container/config/connection.py determines its address and credentials.
    "vertex_ai": Direct("", (), format="vertex_ai", models=VERTEX_CHAT),
    "openrouter": Direct("https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",), ("OPENROUTER_API_BASE",)),
    "groq": Direct("https://api.groq.com/openai/v1", ("GROQ_API_KEY",), ("GROQ_API_BASE",)),
    "mistral": Direct("https://api.mistral.ai/v1", ("MISTRAL_API_KEY",), ("MISTRAL_API_BASE",), asks_usage=False),
    "deepseek": Direct("https://api.deepseek.com/v1", ("DEEPSEEK_API_KEY",), ("DEEPSEEK_API_BASE",)),
    "together_ai": Direct(
        "https://api.together.xyz/v1", ("TOGETHERAI_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHER_API_KEY")
    ),
    "fireworks_ai": Direct(
        "https://api.fireworks.ai/inference/v1",
        ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
        ("FIREWORKS_API_BASE",),
        model_prefix="accounts/fireworks/models/",
    ),
    "xai": Direct("https://api.x.ai/v1", ("XAI_API_KEY",), ("XAI_API_BASE",)),
    "perplexity": Direct("https://api.perplexity.ai", ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"), asks_usage=False),
    "cerebras": Direct("https://api.cerebras.ai/v1", ("CEREBRAS_API_KEY",), ("CEREBRAS_API_BASE",)),
    "nvidia_nim": Direct("https://integrate.api.nvidia.com/v1", ("NVIDIA_NIM_API_KEY",), ("NVIDIA_NIM_API_BASE",)),
    "deepinfra": Direct("https://api.deepinfra.com/v1/openai", ("DEEPINFRA_API_KEY",), ("DEEPINFRA_API_BASE",)),
    "hosted_vllm": Direct("", (), ("HOSTED_VLLM_API_BASE",)),
    "ollama": Direct("http://localhost:11434", (), ("OLLAMA_API_BASE",), base_suffix="/v1"),
    "ollama_chat": Direct("http://localhost:11434", (), ("OLLAMA_API_BASE",), base_suffix="/v1"),
    "lm_studio": Direct("http://localhost:1234/v1", (), ("LM_STUDIO_API_BASE",)),
    "custom_openai": Direct("", ()),
    "openai_like": Direct("", ()),
}

# Optional keys of providers that do not require one.
OPTIONAL_KEYS = {"hosted_vllm": "HOSTED_VLLM_API_KEY", "lm_studio": "LM_STUDIO_API_KEY", "ollama": "OLLAMA_API_KEY"}

AZURE_VERSION_VARIABLE = "AZURE_API_VERSION"
AZURE_DEFAULT_VERSION = "2024-10-21"

# Engine providers whose key is a well-known variable. `A|B` means that either one will do. For other providers the
# config names the variable (`api_key: os.environ/NAME`), or LiteLLM finds it.
ENGINE_NEEDS: dict[str, tuple[str, ...]] = {
    "vertex_ai": ("GOOGLE_APPLICATION_CREDENTIALS",),
    "cohere": ("COHERE_API_KEY|CO_API_KEY",),
    "cohere_chat": ("COHERE_API_KEY|CO_API_KEY",),
    "replicate": ("REPLICATE_API_KEY|REPLICATE_API_TOKEN",),
    "huggingface": ("HF_TOKEN|HUGGINGFACE_API_KEY",),
    "ai21": ("AI21_API_KEY",),
    "azure_ai": ("AZURE_AI_API_KEY",),
    "databricks": ("DATABRICKS_API_KEY",),
    "sambanova": ("SAMBANOVA_API_KEY",),
    "voyage": ("VOYAGE_API_KEY",),
    "jina_ai": ("JINA_AI_API_KEY",),
    "moonshot": ("MOONSHOT_API_KEY",),
    "watsonx": ("WATSONX_APIKEY|WATSONX_API_KEY|WATSONX_TOKEN",),
}

# Other variables that LiteLLM's providers read. Those that are set are passed to the engine.
ENGINE_VARIABLES: tuple[str, ...] = (
    "VERTEXAI_API_BASE",
    "VERTEX_API_BASE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION_NAME",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_BEARER_TOKEN_BEDROCK",
    "GOOGLE_CLOUD_PROJECT",
    "VERTEXAI_PROJECT",
    "VERTEXAI_LOCATION",
    "VERTEX_PROJECT",
    "VERTEX_LOCATION",
    "GEMINI_API_BASE",
    "COHERE_API_BASE",
    "REPLICATE_API_BASE",
    "WATSONX_URL",
    "WATSONX_PROJECT_ID",
    "DATABRICKS_API_BASE",
)

# Prefixes that identify the provider of a bare model name such as `gpt-4o`.
_PREFIXES: tuple[tuple[str, str], ...] = (
    ("gpt-", "openai"),
    ("chatgpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("text-embedding-", "openai"),
    ("dall-e", "openai"),
    ("whisper", "openai"),
    ("tts-", "openai"),
    ("omni-moderation", "openai"),
    ("ft:gpt", "openai"),
    ("claude-", "anthropic"),
    ("anthropic.", "bedrock"),
    ("amazon.", "bedrock"),
    ("meta.llama", "bedrock"),
    ("command-", "cohere_chat"),
    ("embed-", "cohere"),
    ("gemini-", "vertex_ai"),
)


def split_model(model: str, known: frozenset[str], custom_provider: str | None = None) -> tuple[str | None, str]:
    """Splits a model into provider and name: `openai/gpt-4o` and `gpt-4o` both give `("openai", "gpt-4o")`.

    The provider is None if it cannot be determined. `known` contains LiteLLM's provider names.
    """
    if custom_provider:
        return custom_provider, model.removeprefix(custom_provider + "/")
    head, slash, tail = model.partition("/")
    if slash and (head in DIRECT or head in known):
        return head, tail
    for prefix, provider in _PREFIXES:
        if model.startswith(prefix):
            return provider, model
    return None, model


def provider_at(base: str | None) -> str | None:
    """The provider that owns an address: `https://api.groq.com/openai/v1` belongs to Groq. For models without a
    provider.
    """
    if not base:
        return None
    own = ((name, one.base) for name, one in DIRECT.items() if one.base and one.format == "openai")
    return next((name for name, home in own if origin(home) == origin(base)), None)


# LiteLLM prefixes some models with the way they are called: `azure/o_series/my-deployment`, `openai/responses/gpt-5`.
# The prefix is never part of the provider's name for the model. https://docs.litellm.ai/docs/providers/azure

_ROUTES = {
    "azure": frozenset(("responses", "o_series", "gpt5_series")),
    "openai": frozenset(("responses", "o_series", "gpt5_series", "chat_completions")),
}
_NO_ROUTES: frozenset[str] = frozenset()


def split_route(provider: str | None, model: str) -> tuple[str, str]:
    """Splits off the route prefix: `("o_series", "my-deployment")`. The route is '' if there is none."""
    head, slash, tail = model.partition("/")
    if not slash or not tail or head not in _ROUTES.get(provider or "", _NO_ROUTES):
        return "", model
    return head, tail
