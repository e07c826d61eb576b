"""LiteLLM's callbacks and the variables that they read."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from container.config import ConfigError, callbacks
from container.config.callbacks import CALLBACKS
from container.settings import VARIABLES

MODELS = [{"model_name": "a", "litellm_params": {"model": "openai/x", "mock_response": "hi"}}]


@pytest.fixture(scope="module")
def litellms() -> str:
    """The sources of its integrations and of what makes them."""
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
        # lunary's are read by its own package.
        assert f'"{variable}"' in litellms or CALLBACKS[name].package == "lunary", variable


def test_none_of_them_is_ours_alone():
    private = {v.name for v in VARIABLES if not v.edge}
    assert not callbacks.variables(CALLBACKS) & private


def test_one_whose_package_is_missing_stops_the_start(load_config):
    with pytest.raises(ConfigError, match=r"success_callback: error: 'sentry' needs the package sentry-sdk"):
        load_config({"model_list": MODELS, "litellm_settings": {"success_callback": ["sentry"]}})


def test_of_one_that_is_not_known_that_is_said(load_config):
    config = load_config({"model_list": MODELS, "litellm_settings": {"callbacks": "my_module.handler"}})
    assert any("'my_module.handler'" in str(problem) and "at the edge" in str(problem) for problem in config.problems)
