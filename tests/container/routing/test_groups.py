"""From the model a client names to the deployments that serve it."""

import pytest

from container.routing.groups import Groups


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


def test_a_name_has_its_deployments_in_the_files_order(groups):
    found = groups(model("a", "openai/x"), model("b", "openai/y"), model("a", "groq/z"))
    assert asked(found, "a") == ["openai/x", "groq/z"]
    assert asked(found, "b") == ["openai/y"]


def test_deployments_that_are_off_are_targets_too(groups):
    found = groups(model("a", "openai/x", api_key="os.environ/UNSET"))
    assert asked(found, "a") == ["openai/x"]


@pytest.mark.parametrize("name", ["c", "A", "a ", "", "a/b", "*"])
def test_no_other_name_is_a_model(groups, name):
    assert groups(model("a", "openai/x")).targets(name) == ()


def test_an_alias_is_its_group(groups):
    found = groups(model("a", "openai/x"), gpt="a")
    assert found.targets("gpt") == found.targets("a")
    assert (found.group("gpt"), found.group("a"), found.group("c")) == ("a", "a", "c")
    assert found.names == ("a", "gpt")


def test_a_wildcard_is_filled_in(groups):
    found = groups(model("openrouter/*", "openrouter/*"))
    assert asked(found, "openrouter/openai/gpt-4o") == ["openrouter/openai/gpt-4o"]
    assert found.targets("openrouter/") == ()
    assert found.targets("openrouter") == ()
    assert found.targets("x/openrouter/y") == ()


def test_no_model_s_name_has_a_nul(groups):
    """Names that a wildcard lets through stand in the spend log, and PostgreSQL has no such text."""
    assert groups(model("*", "openai/*")).targets("gpt\0") == ()


def test_a_wildcard_may_stand_anywhere(groups):
    found = groups(model("my-*-model", "openai/their-*-v2"))
    assert asked(found, "my-big-model") == ["openai/their-big-v2"]
    assert found.targets("my--model") == ()
    assert found.targets("my-model") == ()


def test_a_wildcard_may_lead_to_one_model(groups):
    assert asked(groups(model("gpt-*", "openai/gpt-4o")), "gpt-99") == ["openai/gpt-4o"]


def test_an_exact_name_goes_before_a_wildcard(groups):
    found = groups(model("openrouter/*", "openrouter/*"), model("openrouter/auto", "openai/x"))
    assert asked(found, "openrouter/auto") == ["openai/x"]


def test_the_wildcard_that_says_most_goes_first(groups):
    found = groups(
        model("*", "openrouter/*"),
        model("openai/*", "openai/*"),
        model("openai/gpt-*", "azure/gpt-*", api_base="https://x"),
    )
    assert asked(found, "openai/gpt-4o") == ["azure/gpt-4o"]
    assert asked(found, "openai/o3") == ["openai/o3"]
    assert asked(found, "anything/else") == ["openrouter/anything/else"]


def test_all_deployments_of_a_wildcard_are_filled_in(groups):
    found = groups(model("m/*", "openrouter/*"), model("m/*", "together_ai/*"))
    assert asked(found, "m/llama") == ["openrouter/llama", "together_ai/llama"]


def test_a_star_in_the_clients_name_stays_one(groups):
    assert asked(groups(model("m/*", "openrouter/*")), "m/a*b") == ["openrouter/a*b"]
