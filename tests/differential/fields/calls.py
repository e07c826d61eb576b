"""The requests that a provider would receive from LiteLLM and from the proxy's wire formats, in this process and
without sockets."""

import asyncio
import copy
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import orjson
import pytest
import yaml

from container.config.load import load
from container.engine import Engine
from container.formats import Formats
from container.formats.shared.wire import Unsupported
from container.request.client_apis import parse_messages
from container.request.completion import parse
from tests.differential.fields.targets import HOST, TARGETS, options
from worker.core.api.errors import ApiError

# LiteLLM would fetch both otherwise.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"] = "True"


class Received(NamedTuple):
    """A request as the provider would receive it. `path` includes the query but not the host."""

    path: str
    body: Any


class Refused(NamedTuple):
    """The client got an error and the provider got nothing. `reason` is the field that the error names, or its
    message."""

    reason: str


class _Sent(BaseException):
    """Carries a request out of LiteLLM. Not an `Exception`, because LiteLLM would handle, log and retry it."""

    def __init__(self, request: httpx.Request) -> None:
        self.request = request


class _AtOnce(ThreadPoolExecutor):
    """Runs functions in the calling thread. LiteLLM's switch to a thread and back takes most of a call's time."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - `_Sent` is no Exception
            future.set_exception(error)
        return future


class LiteLLM:
    """LiteLLM as a library, with replaced HTTP transports."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._runner.get_loop().set_default_executor(_AtOnce())

    def close(self) -> None:
        self._runner.close()

    def asked(self, target: str, endpoint: str, body: Mapping[str, Any], *, drop: bool) -> Received | Refused:
        import litellm

        call: Any = litellm.acompletion if endpoint == "chat_completions" else litellm.anthropic_messages
        more: dict[str, Any] = {**options(target), "num_retries": 0, "max_retries": 0, "drop_params": drop}
        if endpoint == "messages":
            del more["num_retries"], more["max_retries"]

        async def ask() -> None:
            await call(**{**copy.deepcopy(dict(body)), "model": target, **more})

        try:
            self._runner.run(ask())
        except _Sent as sent:
            return _received(str(sent.request.url), sent.request.content)
        except Exception as error:  # noqa: BLE001 - of many types
            return Refused(str(error).removeprefix("litellm."))
        return Refused("nobody was asked")


@contextmanager
def litellm_without_network() -> Iterator[LiteLLM]:
    import litellm
    from litellm.llms.vertex_ai.vertex_llm_base import VertexBase

    async def handle(self: Any, request: httpx.Request) -> httpx.Response:
        await request.aread()
        raise _caught(request)

    def handle_blocking(self: Any, request: httpx.Request) -> httpx.Response:
        request.read()
        raise _caught(request)

    async def token(*_: Any, **__: Any) -> tuple[str, str]:
        return "token", "p"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)
        patch.setattr(httpx.HTTPTransport, "handle_request", handle_blocking)
        patch.setattr(litellm, "disable_aiohttp_transport", True)
        patch.setattr(litellm, "suppress_debug_info", True)
        # LiteLLM would send Messages requests for OpenAI to `/responses`; here they use chat completions.
        patch.setattr(litellm, "use_chat_completions_url_for_anthropic_messages", True)
        patch.setattr(litellm, "disable_hf_tokenizer_download", True)
        patch.setattr(VertexBase, "_ensure_access_token_async", token)
        patch.setattr(VertexBase, "_ensure_access_token", lambda *_, **__: ("token", "p"))
        patch.setattr(logging.getLogger("LiteLLM"), "disabled", True)
        # LiteLLM would import its proxy, for seconds, only to find that no router runs there.
        patch.setitem(sys.modules, "litellm.proxy.proxy_server", None)
        oracle = LiteLLM()
        yield oracle
        oracle.close()


class Ours:
    """The proxy's parsing and wire formats, with every target as a model of one config."""

    def __init__(self, folder: Path) -> None:
        entries = [{"model_name": target, "litellm_params": {"model": target, **options(target)}} for target in TARGETS]
        self._formats: dict[bool, Formats] = {}
        for drop in (False, True):
            path = folder / f"config_{drop}.yaml"
            path.write_text(yaml.safe_dump({"model_list": entries, "litellm_settings": {"drop_params": drop}}))
            config = load(path, {})
            self._formats[drop] = Formats(config.options, Engine(config, {}, start_timeout=1))
            self._deployments = {d.group: d for d in config.deployments}
            asyncio.run(self._open(self._formats[drop]))

    async def _open(self, formats: Formats) -> None:
        """Vertex AI's address requires the project of the deployment."""
        for d in self._deployments.values():
            if d.provider == "vertex_ai":
                await formats.of(d, d.model, "chat_completions").address(d, patience=1)

    def asked(self, target: str, endpoint: str, body: Mapping[str, Any], *, drop: bool) -> Received | Refused:
        d = self._deployments[target]
        raw = orjson.dumps({**body, "model": target})
        try:
            request = parse(endpoint, raw) if endpoint == "chat_completions" else parse_messages(endpoint, raw, "")
            format = self._formats[drop].of(d, d.model, endpoint)
            sent = format.request(d, d.model, request)
        except (ApiError, Unsupported) as error:
            return Refused(error.param or str(error))
        return _received(format.url(d, d.base, d.model, sent.endpoint or endpoint, stream=request.stream), sent.body)


def _caught(request: httpx.Request) -> BaseException:
    if str(request.url).startswith(HOST):
        return _Sent(request)
    return httpx.ConnectError(f"There is no network here: {request.url}", request=request)


def _received(url: str, body: bytes) -> Received:
    return Received(url.removeprefix(HOST), orjson.loads(body))
