"""LiteLLM as the oracle for settings. Each setting in its types starts here, also blank or quoted, or is listed in
`container.config.foreign_settings` as one that stops the start."""

import ast
import os
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from container.config.document import ConfigError
from container.config.foreign_settings import OTHER_AUTHENTICATION, STOPS
from container.config.load import Config, Options
from tests.container.conftest import load_config

__all__ = ["load_config"]

# LiteLLM would fetch its price map otherwise.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

MODEL = {"model_name": "a", "litellm_params": {"model": "openai/x", "api_key": "k"}}
Load = Callable[..., Config]

# Values where the type alone does not determine a valid one.
FITTING: Mapping[str, Any] = {
    "model": "openai/x",
    "custom_llm_provider": "openai",
    "api_base": "https://models.example/v1",
    "litellm_credential_name": "mine",
    "mock_response": "hi",
    "model_list": [MODEL],
    "routing_strategy": "least-busy",
    "routing_strategy_args": {"ttl": 10},
    "fallbacks": [{"a": ["a"]}],
    "context_window_fallbacks": [{"a": ["a"]}],
    "content_policy_fallbacks": [{"a": ["a"]}],
    "default_fallbacks": ["a"],
    "model_group_alias": {"b": "a"},
    "retry_policy": {"TimeoutErrorRetries": 1},
    "allowed_fails_policy": {"TimeoutErrorAllowedFails": 1},
    "default_litellm_params": {"temperature": 0},
    "database_url": "postgresql://user:password@db.example/litellm",
    "redis_url": "redis://redis.example",
    "redis_port": 6379,
    "coordination_redis": {"host": "redis.example"},
    "maximum_spend_logs_retention_period": "30d",
    "budget_duration": "30d",
    "cache": True,
    "callbacks": ["langsmith"],
    "success_callback": ["langsmith"],
    "failure_callback": ["langsmith"],
    "vertex_credentials": "{}",
    "stream_timeout": 5,
    "provider_budget_config": {"openai": {"budget_limit": 1.0, "time_period": "1d"}},
    "user_header_mappings": [{"header_name": "x-user", "litellm_user_role": "customer"}],
}
# Values that differ between sections.
IN_SECTION: Mapping[str, Any] = {
    "litellm_settings.api_base": "https://models.example/v1",
    "litellm_settings.model_list": ["a"],
    "litellm_settings.budget_duration": "30d",
    "litellm_settings.internal_user_budget_duration": "30d",
    "litellm_settings.upperbound_key_generate_params": {"max_budget": 1},
    "litellm_settings.default_key_generate_params": {"max_budget": 1},
    "litellm_settings.guardrail_name_config_map": {},
    "general_settings.admin_only_routes": ["/chat/completions"],
}
# Not config settings: LiteLLM's proxy passes them itself.
_INTERNAL = frozenset(
    (
        "model_list",
        "assistants_config",
        "fallback_access_check",
        "fallback_budget_check",
        "auto_router_capability_limit",
    )
)


def fitting(name: str, kind: Any, section: str = "") -> Any:
    key = f"{section}.{name}"
    if key in IN_SECTION:
        return IN_SECTION[key]
    return FITTING[name] if name in FITTING else _of(kind)


def _of(kind: Any) -> Any:
    """A value of the annotated type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _of(next(one for one in arguments if one is not type(None)))
    if origin is typing.Literal:
        return arguments[0]
    if origin is typing.Annotated:
        return _of(arguments[0])
    plain = {bool: True, int: 5, float: 0.5, str: "text"}
    for known, value in plain.items():
        if kind is known:
            return value
    name = str(kind).lower()
    return ["text"] if any(word in name for word in ("list", "tuple", "sequence")) else {"text": 1}


def quoted(value: Any) -> str | None:
    """The value as people write it in quotes, or None if it has no such form."""
    return str(value) if isinstance(value, bool | int | float) else None


def params_of_litellm() -> dict[str, Any]:
    from litellm.types.router import LiteLLM_Params

    return {name: field.annotation for name, field in LiteLLM_Params.model_fields.items()}


def router_settings_of_litellm() -> dict[str, Any]:
    import inspect

    from litellm.router import Router
    from litellm.types.router import RouterConfig, UpdateRouterConfig

    found = {
        name: one.annotation
        for name, one in inspect.signature(Router.__init__).parameters.items()
        if name not in ("self", *_INTERNAL)
    }
    for model in (RouterConfig, UpdateRouterConfig):
        for name, field in model.model_fields.items():
            found.setdefault(name, field.annotation)
    return {name: kind for name, kind in found.items() if name not in _INTERNAL}


def general_settings_of_litellm() -> dict[str, Any]:
    from litellm.proxy._types import ConfigGeneralSettings

    return {name: field.annotation for name, field in ConfigGeneralSettings.model_fields.items()}


def litellm_settings_of_litellm() -> dict[str, Any]:
    """The annotated variables of LiteLLM's module, which `litellm_settings` can set."""
    import litellm

    assert litellm.__file__
    tree = ast.parse(Path(litellm.__file__).read_text(encoding="utf-8"))
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not node.target.id.startswith("_"):
            text = ast.unparse(node.annotation).lower()
            words = (("bool", bool), ("int", int), ("float", float), ("list", list), ("set", list), ("dict", dict))
            found[node.target.id] = next((kind for word, kind in words if word in text), str)
    return found


SECTIONS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "router_settings": router_settings_of_litellm,
    "general_settings": general_settings_of_litellm,
    "litellm_settings": litellm_settings_of_litellm,
}


def outcome(load: Load, section: str, name: str, value: Any) -> Config | str:
    """The config, or the key that stopped the start."""
    try:
        return load({"model_list": [MODEL], section: {name: value}})
    except ConfigError as error:
        [problem] = [one for one in error.problems if one.level == "error"]
        return problem.where.rpartition(" ")[2]


@pytest.mark.parametrize("section", SECTIONS)
def test_setting_known_to_litellm_starts_or_is_listed(load_config: Load, section: str):
    stopped, listed = set(), {key for key in (*STOPS, *OTHER_AUTHENTICATION) if key.startswith(f"{section}.")}
    known = SECTIONS[section]()
    assert len(known) > 50
    for name, kind in known.items():
        found = outcome(load_config, section, name, fitting(name, kind, section))
        if isinstance(found, str):
            assert found == f"{section}.{name}"
            stopped.add(found)
    without_budget = {"litellm_settings.block_requests_for_models_without_pricing"}
    assert stopped <= listed | without_budget
    assert {key for key in listed if key.partition(".")[2] in known} <= stopped


@pytest.mark.parametrize("section", ["router_settings", "general_settings"])
def test_effect_of_every_setting_is_known(load_config: Load, section: str):
    """Each setting is read or has a message that names its replacement. None is reported as unknown."""
    unknown = []
    for name, kind in SECTIONS[section]().items():
        found = outcome(load_config, section, name, fitting(name, kind, section))
        if isinstance(found, Config) and any("is not a setting that" in str(one) for one in found.problems):
            unknown.append(name)
    assert unknown == []


@pytest.mark.parametrize("section", SECTIONS)
def test_blank_setting_is_ignored(load_config: Load, section: str):
    content = dict.fromkeys(SECTIONS[section]())
    config = load_config({"model_list": [MODEL], section: content})
    assert config.options == Options()
    assert config.problems == ()


@pytest.mark.parametrize("section", SECTIONS)
def test_quoted_setting_equals_the_setting(load_config: Load, section: str):
    for name, kind in SECTIONS[section]().items():
        value = fitting(name, kind, section)
        text = quoted(value)
        if text is None:
            continue
        plain, other = (outcome(load_config, section, name, one) for one in (value, text))
        if isinstance(plain, Config) and isinstance(other, Config):
            assert _without_engine(plain.options) == _without_engine(other.options), name
        else:
            assert plain == other, name


def _without_engine(options: Options) -> Any:
    """The config without the engine's part, which LiteLLM parses itself."""
    return [getattr(options, name) for name in Options.__dataclass_fields__ if name != "engine_settings"]


def test_model_parameter_known_to_litellm_starts(load_config: Load):
    for name, kind in params_of_litellm().items():
        for value in (fitting(name, kind), None, quoted(fitting(name, kind))):
            params = {**MODEL["litellm_params"], name: value} if name != "model" else MODEL["litellm_params"]
            config = load_config({"model_list": [{"model_name": "a", "litellm_params": params}]})
            assert list(config.groups) == ["a"], (name, value, config.problems)
            if value is None and name not in ("api_key", "model"):
                assert config.deployments[0].kind == "direct", name


def test_quoted_model_parameter_equals_the_parameter(load_config: Load):
    for name, kind in params_of_litellm().items():
        value = fitting(name, kind)
        text = quoted(value)
        if text is None or isinstance(value, bool):
            continue
        plain, other = (
            load_config({"model_list": [{"model_name": "a", "litellm_params": {**MODEL["litellm_params"], name: one}}]})
            for one in (value, text)
        )
        first, second = plain.deployments[0], other.deployments[0]
        assert (first.kind, first.rpm, first.tpm, first.timeout, first.num_retries) == (
            second.kind,
            second.rpm,
            second.tpm,
            second.timeout,
            second.num_retries,
        ), name
        if "cost" in name:
            assert first.params[name] == second.params[name], name
