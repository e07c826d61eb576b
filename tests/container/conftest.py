"""Fixtures for the proxy's modules: configs from a few lines of YAML."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any, Protocol

import pytest
import uvloop
import yaml

from container.config.deployment import Deployment
from container.config.document import ConfigError
from container.config.load import Config, load


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop of the proxy. Other event loops report the end of a child process only after its output has
    ended."""
    return {"uvloop": uvloop.new_event_loop}


class LoadConfig(Protocol):
    """`load_config(content, environment)`; raises ConfigError as `container.config.load` does."""

    def __call__(
        self, content: str | Mapping[str, Any], environment: Mapping[str, str] | None = None, name: str = "config.yaml"
    ) -> Config: ...


@pytest.fixture
def load_config(tmp_path: Path) -> LoadConfig:
    def loaded(
        content: str | Mapping[str, Any], environment: Mapping[str, str] | None = None, name: str = "config.yaml"
    ) -> Config:
        path = tmp_path / name
        path.write_text(dedent(content) if isinstance(content, str) else yaml.safe_dump(dict(content), sort_keys=False))
        return load(path, environment or {})

    return loaded


class LoadOne(Protocol):
    """`deployment(model="openai/gpt-4o", api_key="sk", environment={…}, info={…})`: a config's only one."""

    def __call__(
        self,
        *,
        group: str = "m",
        environment: Mapping[str, str] | None = None,
        info: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> Deployment: ...


@pytest.fixture
def deployment(load_config: LoadConfig) -> LoadOne:
    def one(
        *,
        group: str = "m",
        environment: Mapping[str, str] | None = None,
        info: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> Deployment:
        entry: dict[str, Any] = {"model_name": group, "litellm_params": params}
        if info is not None:
            entry["model_info"] = dict(info)
        return load_config({"model_list": [entry]}, environment).deployments[0]

    return one


class Warned(Protocol):
    """`warned(content, environment)`: the warnings of a valid config, one line each."""

    def __call__(self, content: str | Mapping[str, Any], environment: Mapping[str, str] | None = None) -> list[str]: ...


@pytest.fixture
def warned(load_config: LoadConfig) -> Warned:
    def warnings(content: str | Mapping[str, Any], environment: Mapping[str, str] | None = None) -> list[str]:
        return [str(p) for p in load_config(content, environment).problems if p.level == "warning"]

    return warnings


class Complaints(Protocol):
    """`complaints(content, environment)`: the errors that stop the start, one line each."""

    def __call__(self, content: str | Mapping[str, Any], environment: Mapping[str, str] | None = None) -> list[str]: ...


@pytest.fixture
def complaints(load_config: LoadConfig) -> Complaints:
    def errors(content: str | Mapping[str, Any], environment: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load_config(content, environment)
        return str(caught.value).splitlines()

    return errors
