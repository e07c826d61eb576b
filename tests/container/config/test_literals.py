"""Secrets written in a config file are removed when the config is handed on, and restored by whoever has the file."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from container.config.document import IN_IMAGE, secrets_of, with_secrets, without_secrets
from container.config.load import load, loads
from container.proxy.catalog import catalog

TEXTS = st.text(min_size=1).filter(lambda text: not text.startswith((IN_IMAGE, "os.environ/")))
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["api_key", "model", "headers"]) | TEXTS, inner),
    max_leaves=12,
)
MODEL = {"model_name": "gpt", "litellm_params": {"model": "openai/gpt", "api_key": "sk-provider"}}


@given(data=st.dictionaries(TEXTS, DATA))
def test_secrets_are_restored_from_the_file(data: dict[str, Any]) -> None:
    assert with_secrets(without_secrets(data), secrets_of(data)) == data


@pytest.mark.parametrize(
    "secret",
    [
        {"api_key": "s3cret"},
        {"aws_secret_access_key": "s3cret"},
        {"azure_ad_token": "s3cret"},
        {"vertex_credentials": '{"private_key": "s3cret"}'},
        {"vertex_credentials": {"private_key": "s3cret"}},
        {"extra_headers": {"x-anything": "s3cret"}},
        {"environment_variables": {"ANYTHING": "s3cret"}},
        {"api_base": "https://user:s3cret@provider.example/v1"},
        {"cache_params": {"password": "s3cret"}},
        {"keys": ["s3cret"]},
    ],
)
def test_secret_is_removed(secret: dict[str, Any]) -> None:
    assert "s3cret" not in json.dumps(without_secrets({"deep": [{"litellm_params": secret}]}))


@pytest.mark.parametrize(
    "plain",
    [
        {"model": "openai/gpt-4o", "api_base": "https://provider.example/v1"},
        {"api_key": "os.environ/OPENAI_API_KEY"},
        {"input_cost_per_token": "3e-06", "max_tokens": "100"},
        {"model_group_alias": {"gpt": "gpt-4o"}, "fallbacks": [{"a": ["b"]}]},
        {"api_key": None, "key": 7, "token": True, "password": ""},
    ],
)
def test_non_secret_is_kept(plain: dict[str, Any]) -> None:
    assert without_secrets(plain) == plain


def test_container_without_the_file_turns_the_model_off(tmp_path: Path) -> None:
    path = tmp_path / "litellm_config.yaml"
    path.write_text(yaml.safe_dump({"model_list": [MODEL]}))
    document = catalog(load(path, {}))["document"]
    assert "sk-provider" not in document
    assert loads("config.yaml", document, {}, path).deployments[0].api_key == "sk-provider"
    path.write_text(
        yaml.safe_dump({"model_list": [{**MODEL, "litellm_params": {"model": "openai/gpt", "api_key": "x"}}]})
    )
    for own in (path, tmp_path / "nothing.yaml"):
        (off,) = loads("config.yaml", document, {}, own).deployments
        assert off.off, "it has no key to be called with"
        assert off.api_key != "x"
