"""`general_settings.request_logging` and LiteLLM's callbacks."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from container.config import observability
from container.config.document import ConfigError
from container.config.observability import CALLBACKS, RequestLogging
from container.engine import callback_modules
from container.server.settings import VARIABLES

MODEL = {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hi"}}


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (True, RequestLogging()),
        ("true", RequestLogging()),
        (False, None),
        (None, None),
        ({}, RequestLogging()),
        ({"contents": True}, RequestLogging(contents=True)),
        ({"redact": False}, RequestLogging(contents=True)),
        ({"redact": True, "max_bytes": 10}, RequestLogging(max_bytes=10)),
        ({"file": "/tmp/requests"}, RequestLogging(file="/tmp/requests")),
    ],
)
def test_valid_values(load_config, value, meaning):
    config = load_config({"model_list": [MODEL], "general_settings": {"request_logging": value}})
    assert config.options.request_logging == meaning


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("yes please", "true or false"),
        ({"content": True}, "Did you mean `contents`"),
        ({"contents": True, "redact": True}, "contradicts"),
        ({"file": 3}, "path"),
        ({"max_bytes": 0}, "whole number"),
        ({"max_bytes": True}, "whole number"),
    ],
)
def test_invalid_values(load_config, value, wrong):
    with pytest.raises(ConfigError, match=wrong):
        load_config({"model_list": [MODEL], "general_settings": {"request_logging": value}})


def test_logging_contents_causes_a_warning(load_config):
    config = load_config({"model_list": [MODEL], "general_settings": {"request_logging": {"contents": True}}})
    assert any(p.level == "warning" and "request_logging" in str(p) for p in config.problems)


MODELS = [{"model_name": "a", "litellm_params": {"model": "openai/x", "mock_response": "hi"}}]


@pytest.fixture(scope="module")
def litellms() -> str:
    """The source code of LiteLLM's integrations and their factory."""
    spec = find_spec("litellm")
    assert spec
    assert spec.origin
    folder = Path(spec.origin).parent
    sources = [*(folder / "integrations").rglob("*.py"), *(folder / "litellm_core_utils").glob("*.py")]
    return "".join(path.read_text() for path in [*sources, folder / "__init__.py"])


@pytest.mark.parametrize("name", CALLBACKS)
def test_litellm_knows_the_callback_and_reads_its_variables(name: str, litellms: str):
    assert f'"{name}"' in litellms
    for variable in CALLBACKS[name].variables:
        # lunary's variables are read by its own package.
        assert f'"{variable}"' in litellms or CALLBACKS[name].package == "lunary", variable


def test_no_callback_variable_is_private_to_the_proxy():
    private = {v.name for v in VARIABLES if not v.edge}
    assert not observability.callback_variables(CALLBACKS) & private


def test_callback_with_a_missing_package_is_omitted(load_config):
    config = load_config({"model_list": MODELS, "litellm_settings": {"success_callback": ["sentry", "langsmith"]}})
    assert config.options.engine_settings == {"success_callback": ["langsmith"]}
    assert any("success_callback: warning: 'sentry' needs the package sentry-sdk" in str(p) for p in config.problems)


def test_unknown_callback_is_reported(load_config):
    config = load_config({"model_list": MODELS, "litellm_settings": {"callbacks": "nonesuch"}})
    assert any("'nonesuch'" in str(problem) and "at the edge" in str(problem) for problem in config.problems)


def test_prometheus_is_built_in_and_sends_no_model_through_the_engine(load_config):
    config = load_config({"model_list": MODELS, "litellm_settings": {"callbacks": ["prometheus"]}})
    assert config.options.engine_reason is None
    assert any("/metrics" in str(problem) for problem in config.problems)


def test_custom_function_must_be_beside_the_config_file(load_config, complaints, tmp_path):
    content = {"model_list": MODELS, "litellm_settings": {"callbacks": ["my_module.handler"]}}
    [said] = complaints(content)
    assert "my_module.py" in said
    (tmp_path / "my_module.py").touch()
    (tmp_path / "what_it_imports.py").touch()
    config = load_config(content)
    assert config.options.engine_reason == "callbacks"
    assert [path.name for path in callback_modules(config)] == ["my_module.py", "what_it_imports.py"]


def test_nothing_is_imported_without_a_custom_function(load_config, tmp_path):
    (tmp_path / "something.py").touch()
    config = load_config({"model_list": MODELS, "litellm_settings": {"callbacks": ["langsmith"]}})
    assert callback_modules(config) == []


@pytest.mark.parametrize("name", ["turn_off_message_logging", "redact_user_api_key_info"])
def test_callback_redaction_settings_are_passed_to_the_engine(load_config, name):
    settings = {"success_callback": ["langsmith"], name: True}
    config = load_config({"model_list": MODELS, "litellm_settings": settings})
    assert config.options.engine_settings == settings
    alone = load_config({"model_list": MODELS, "litellm_settings": {name: True}})
    assert alone.options.engine_reason is None
