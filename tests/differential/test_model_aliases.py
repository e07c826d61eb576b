"""LiteLLM's own functions as the oracle for the aliases of a team: who may use a name, what it stands for, and which
names are listed."""

import itertools
import json
import os
from typing import Any

import pytest

from container.routing.router import RouteRequest
from container.stores import SqliteStore
from tests.ledger.support import Ledger
from worker.core.ledger import keys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

NAMES = ("small", "large", "fast", "gone", "other")
MODELS: tuple[list[str], ...] = (
    [], ["small"], ["fast"], ["l*"], ["all-proxy-models"], ["no-default-models"], ["small", "large"],
)  # fmt: skip
ALIASES: tuple[dict[str, str], ...] = (
    {},
    {"fast": "small"},
    {"small": "large"},
    {"fast": "small", "small": "large", "large": "fast"},
    {"small": "small"},
    {"gone": "nowhere"},
)


def theirs(own: list[str], teams: list[str], aliases: dict[str, str], name: str) -> str | None:
    """Returns the model that LiteLLM sends the request to, None if it refuses."""
    from litellm.proxy._types import ProxyException, UserAPIKeyAuth
    from litellm.proxy.auth.auth_checks import can_object_call_model
    from litellm.proxy.litellm_pre_call_utils import _update_model_if_team_alias_exists

    token = UserAPIKeyAuth(api_key="sk-x", team_id="blue", models=own, team_models=teams, team_model_aliases=aliases)
    kinds: list[tuple[Any, list[str]]] = [("key", own), ("team", teams)]
    try:
        for kind, models in kinds:
            can_object_call_model(
                model=name, llm_router=None, models=models, team_model_aliases=aliases, team_id="blue", object_type=kind
            )
    except ProxyException:
        return None
    data = {"model": name}
    _update_model_if_team_alias_exists(data=data, user_api_key_dict=token)
    return data["model"]


@pytest.fixture
async def ledger():
    store = SqliteStore(":memory:")
    await store.open()
    yield Ledger(store)
    await store.close()


@pytest.mark.parametrize("aliases", ALIASES, ids=str)
async def test_access_and_target_are_litellms(ledger: Ledger, aliases: dict[str, str]) -> None:
    for own, teams in itertools.product(MODELS, MODELS):
        await ledger.owner("team:blue", models=json.dumps(teams), model_aliases=json.dumps(aliases))
        key = await ledger.key(team_id="blue", models=own)
        for name in NAMES:
            wanted = theirs(own, teams, aliases, name)
            route = RouteRequest(name).resolved(aliases)
            result = await ledger.admit(key, model=route.model, named=route.alias)
            assert (route.model if result["ok"] else None) == wanted, (own, teams, name)
            if not result["ok"]:
                assert result["status"] == 403


@pytest.mark.parametrize("aliases", ALIASES, ids=str)
@pytest.mark.parametrize("models", MODELS, ids=str)
def test_litellm_lists_no_alias_that_is_not_listed_here(models: list[str], aliases: dict[str, str]) -> None:
    """It lists an alias only if the model may be used under its own name, too."""
    from litellm.proxy.common_utils.model_listing_utils import alias_listing_entries, caller_alias_maps

    configured = ("small", "large")
    allowed = [name for name in configured if keys.allows(json.dumps(models), name)]
    entries = alias_listing_entries([(name, name) for name in allowed], caller_alias_maps({}, aliases, "blue", None))
    listed = {name for name, _ in entries if name in aliases and name not in allowed}
    assert listed <= {name for name, model in aliases.items() if model in configured}


def test_the_names_are_litellms() -> None:
    from litellm.proxy import _types

    for kind in (_types.NewTeamRequest, _types.UpdateTeamRequest):
        assert "model_aliases" in kind.model_fields
