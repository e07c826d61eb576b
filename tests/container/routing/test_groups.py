"""Deployments for the model name in a request."""

import pytest

from container.routing.router import Groups


def model(name: str, provider_model: str, **params) -> dict:
    return {"model_name": name, "litellm_params": {"model": provider_model, "api_key": "k", **params}}


@pytest.fixture
def groups(load_config):
    def of(*models: dict, **aliases) -> Groups:
        content: dict = {"model_list": list(models)}
        if aliases:
            content["router_settings"] = {"model_group_alias": aliases}
        return Groups(load_config(content))

    return of


def asked(groups: Groups, name: str) -> list[str]:
    """The provider models that serve the name."""
    return [f"{t.deployment.provider}/{t.model}" for t in groups.targets(name)]


def test_deployments_of_a_name_are_in_file_order(groups):
    found = groups(model("a", "openai/x"), model("b", "openai/y"), model("a", "groq/z"))
    assert asked(found, "a") == ["openai/x", "groq/z"]
    assert asked(found, "b") == ["openai/y"]


def test_disabled_deployments_are_targets_too(groups):
    found = groups(model("a", "openai/x", api_key="os.environ/UNSET"))
    assert asked(found, "a") == ["openai/x"]


@pytest.mark.parametrize("name", ["c", "A", "a ", "", "a/b", "*"])
def test_unknown_name_is_not_a_model(groups, name):
    assert groups(model("a", "openai/x")).targets(name) == ()


def test_alias_resolves_to_its_group(groups):
    found = groups(model("a", "openai/x"), gpt="a")
    assert found.targets("gpt") == found.targets("a")
    assert (found.group("gpt"), found.group("a"), found.group("c")) == ("a", "a", "c")
    assert found.names == ("a", "gpt")


def test_wildcard_is_expanded(groups):
    found = groups(model("openrouter/*", "openrouter/*"))
    assert asked(found, "openrouter/openai/gpt-4o") == ["openrouter/openai/gpt-4o"]
    assert found.targets("openrouter/") == ()
    assert found.targets("openrouter") == ()
    assert found.targets("x/openrouter/y") == ()


def test_model_name_cannot_contain_nul(groups):
    """Names matched by a wildcard are stored in the spend log, and PostgreSQL text cannot contain NUL."""
    assert groups(model("*", "openai/*")).targets("gpt\0") == ()


def test_wildcard_may_be_anywhere_in_the_name(groups):
    found = groups(model("my-*-model", "openai/their-*-v2"))
    assert asked(found, "my-big-model") == ["openai/their-big-v2"]
    assert found.targets("my--model") == ()
    assert found.targets("my-model") == ()


def test_wildcard_may_map_to_one_model(groups):
    assert asked(groups(model("gpt-*", "openai/gpt-4o")), "gpt-99") == ["openai/gpt-4o"]


def test_exact_name_takes_precedence_over_a_wildcard(groups):
    found = groups(model("openrouter/*", "openrouter/*"), model("openrouter/auto", "openai/x"))
    assert asked(found, "openrouter/auto") == ["openai/x"]


def test_most_specific_wildcard_takes_precedence(groups):
    found = groups(
        model("*", "openrouter/*"),
        model("openai/*", "openai/*"),
        model("openai/gpt-*", "azure/gpt-*", api_base="https://x"),
    )
    assert asked(found, "openai/gpt-4o") == ["azure/gpt-4o"]
    assert asked(found, "openai/o3") == ["openai/o3"]
    assert asked(found, "anything/else") == ["openrouter/anything/else"]


def test_all_deployments_of_a_wildcard_are_expanded(groups):
    found = groups(model("m/*", "openrouter/*"), model("m/*", "together_ai/*"))
    assert asked(found, "m/llama") == ["openrouter/llama", "together_ai/llama"]


def test_literal_star_in_the_clients_name_is_kept(groups):
    assert asked(groups(model("m/*", "openrouter/*")), "m/a*b") == ["openrouter/a*b"]
