"""Providers: which are called directly and which the engine supports, their addresses and keys, and how
`litellm_params` determine the address and the key of a deployment and the environment variables that they require.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .document import REFERENCE, Document, KeyPath, Problem

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
    # container/config/providers.py determines its address and credentials.
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


# What litellm_params say of a deployment's address and key.

# Reference syntax of other programs: `$NAME`, `${NAME}`, `os.environ.NAME`, `os.env/NAME`, `env:NAME`.
_ODD_REFERENCE = re.compile(r"\$|os\.environ(?!/)|os\.env\b|env[:.]|%\w+%$")


class Parameters:
    """Typed access to the litellm_params of one deployment.

    `params` are the parameters as written, and `path` is their location in the document. `left_out` is set when a value
    cannot be used. The model is then left out, as in LiteLLM.
    """

    def __init__(self, document: Document, path: KeyPath, params: dict, environment: Mapping[str, str]) -> None:
        self.document, self.path, self.params, self.environment = document, path, params, environment
        self.left_out = False

    def leave_out(self, name: str | tuple[str, ...], message: str, mend: str = "") -> None:
        self.left_out = True
        at = (name,) if isinstance(name, str) else name
        self.document.report("warning", (*self.path, *at), f"{message.rstrip('.')}; the model is left out.", mend)

    def value(self, name: str) -> Any:
        value = self.params.get(name)
        if isinstance(value, str) and value.startswith(REFERENCE):
            return self.environment.get(value[len(REFERENCE) :]) or None
        return value

    def text(self, name: str) -> str | None:
        value = self.value(name)
        if isinstance(value, date):  # YAML parses `api_version: 2024-10-21` as a date
            return value.isoformat()
        if value is None or isinstance(value, str):
            return value or None
        self.leave_out(name, "has to be text")
        return None

    def number(self, name: str) -> float | None:
        value = self.value(name)
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number) or number < 0:
            self.leave_out(name, f"has to be a number that is not negative, not {value!r}")
            return None
        return number

    def whole(self, name: str) -> int | None:
        number = self.number(name)
        if number is not None and number != int(number):
            self.leave_out(name, "has to be a whole number")
            return None
        return None if number is None else int(number)

    def refuse_odd_references(self) -> None:
        for name in ("api_key", "api_base", "base_url", "api_version"):
            value = self.params.get(name)
            if isinstance(value, str) and _ODD_REFERENCE.match(value):
                message = "looks like a reference to a variable, but the syntax is not supported"
                self.leave_out(name, message, f"Write `{REFERENCE}NAME`.")


CREDENTIALS_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
_MEND = "Set it to the path of a credentials file, or to the file's JSON."


def credentials_problem(environment: Mapping[str, str]) -> Problem | None:
    """A warning about invalid Google credentials, because other models work without them. It never quotes the
    credentials.
    """
    text = environment.get(CREDENTIALS_VARIABLE, "").strip()
    message = wrong_google_credentials(text) if text else None
    return Problem("warning", "environment", f"{CREDENTIALS_VARIABLE} {message}.", _MEND) if message else None


def wrong_google_credentials(text: str) -> str | None:
    """What is wrong with the credentials, given as a path or as JSON. None if nothing is."""
    if not text.startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            return f"names a file that cannot be read ({getattr(error, 'strerror', None) or 'not text'})"
    try:
        content = json.loads(text)
    except ValueError:
        return "holds no valid JSON"
    return None if isinstance(content, dict) and content.get("type") else "holds no credentials: there is no `type`"


# litellm_params of Vertex AI, each of which has two names.
VERTEX_PARAMETERS = frozenset(
    f"{prefix}_{name}" for prefix in ("vertex", "vertex_ai") for name in ("project", "location", "credentials")
)
CREDENTIALS = CREDENTIALS_VARIABLE
BASES = ("VERTEXAI_API_BASE", "VERTEX_API_BASE")
PROJECTS = ("VERTEXAI_PROJECT", "VERTEX_PROJECT")
LOCATIONS = ("VERTEXAI_LOCATION", "VERTEX_LOCATION")
# Projects and locations become part of the URL.
_LOCATION = re.compile(r"[a-z][a-z0-9-]*$")
_PROJECT = re.compile(r"[a-z0-9.:-]+$")


@dataclass(frozen=True, slots=True)
class Vertex:
    """Settings of a Vertex AI deployment.

    `credentials` is the path of a key file or its JSON, and is empty if no token may be sent to the address. `project`
    is None if the credentials name it. `location` is None if the model has a default.
    """

    credentials: str = field(repr=False)
    project: str | None
    location: str | None


def parse_vertex(read: Parameters) -> tuple[Vertex, str, list[str]]:
    """Returns the settings, the base URL, and the required variables. An empty base URL means Google's, which depends
    on the location.
    """
    needs: list[str] = []
    explicit = read.text("api_base") or read.text("base_url")
    base = (explicit or _first(read.environment, BASES) or "").rstrip("/")
    wrong = wrong_address(base) if base else None
    if wrong:
        read.leave_out("api_base", wrong)
    named = "vertex_credentials" in read.params or "vertex_ai_credentials" in read.params
    credentials = _credentials(read, "vertex_credentials") or _credentials(read, "vertex_ai_credentials")
    if not named:
        credentials = read.environment.get(CREDENTIALS, "")
        # Default credentials are sent only to Google's own address or to one set in the environment.
        if explicit and not re.match(r"https://[a-z0-9.-]+\.googleapis\.com(?:/|$)", explicit):
            read.document.report(
                "warning",
                (*read.path, "api_base"),
                f"is not Vertex AI's own address, so {CREDENTIALS} is not used there.",
                f"Write `vertex_credentials: os.environ/{CREDENTIALS}` next to it if the server needs a token.",
            )
            credentials = ""
        else:
            needs.append(CREDENTIALS)
    _look_at(read, credentials)
    project = read.text("vertex_project") or read.text("vertex_ai_project") or _first(read.environment, PROJECTS)
    location = read.text("vertex_location") or read.text("vertex_ai_location") or _first(read.environment, LOCATIONS)
    for name, value, form in (("vertex_project", project, _PROJECT), ("vertex_location", location, _LOCATION)):
        if value is not None and not form.match(value):
            mend = "For example: `global`." if form is _LOCATION else "Use the project id."
            read.leave_out(name, f"{value!r} is not a valid name", mend)
    return Vertex(credentials, project, location), base, needs


def _credentials(read: Parameters, name: str) -> str:
    """The credentials, which the file may contain as a mapping."""
    value = read.value(name)
    return json.dumps(value) if isinstance(value, dict) else read.text(name) or ""


def _look_at(read: Parameters, credentials: str) -> None:
    """Reports credentials that are obviously invalid. Google validates the rest at the first request."""
    message = wrong_google_credentials(credentials.strip()) if credentials else None
    if message and credentials != read.environment.get(CREDENTIALS):  # the variable itself is checked elsewhere
        mend = "Set it to a service account key, as JSON or as a file path."
        read.document.report("warning", (*read.path, "vertex_credentials"), f"{message}.", mend)


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)


def called_directly(read: Parameters, provider: str, direct: Direct) -> tuple[str, str | None, list[str]]:
    """The base URL, the key and the required variables of a provider that is called directly."""
    environment, needs = read.environment, []
    explicit = read.text("api_base") or read.text("base_url")
    names_base = "api_base" in read.params or "base_url" in read.params
    from_variable = next((environment[v] for v in direct.base_variables if environment.get(v)), None)
    base = explicit or ("" if names_base else from_variable or direct.base)
    if not names_base and not from_variable and not direct.base:
        if direct.base_variables:
            needs.append("|".join(direct.base_variables))
        else:
            read.leave_out("api_base", "is missing", f"Set it to the address of the {provider} server.")
    key = read.text("api_key")
    if key is None and "api_key" not in read.params:
        key = next((environment[v] for v in direct.key_variables if environment.get(v)), None)
        if provider in OPTIONAL_KEYS:
            key = environment.get(OPTIONAL_KEYS[provider])
        # A default key is sent only to the provider's own address or to one set in the environment.
        has_home = bool(direct.base and direct.key_variables)
        stranger = names_base and has_home and origin(explicit or "") != origin(direct.base)
        if stranger:
            if key is not None:
                read.document.report(
                    "warning",
                    (*read.path, "api_base"),
                    f"is not {provider}'s own address, so {direct.key_variables[0]} is not sent there.",
                    "Write `api_key: os.environ/NAME` next to it if the server needs a key.",
                )
            key = None
        elif direct.key_variables:
            needs.append("|".join(direct.key_variables))
    wrong = wrong_address(base) if base else None
    if wrong:
        read.leave_out("api_base", wrong)
    base = base.rstrip("/")
    if direct.base_suffix and base and not base.endswith(direct.base_suffix):
        base += direct.base_suffix
    return base, key, needs


def engine_needs(provider: str, params: dict, direct: Direct | None) -> list[str]:
    if "api_key" in params or (provider == "vertex_ai" and "vertex_credentials" in params):
        return []
    if direct and provider not in ENGINE_NEEDS:
        own_home = "api_base" not in params and "base_url" not in params
        return ["|".join(direct.key_variables)] if direct.key_variables and own_home else []
    return list(ENGINE_NEEDS.get(provider, ()))
