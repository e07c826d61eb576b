"""Wall clocks that jump: cooldowns use a monotonic clock, and a replica's claims about time are bounded."""

from container.routing.health import MAX_COOLDOWN_SECONDS
from container.routing.router import Router
from tests.container.conftest import LoadConfig, load_config

__all__ = ["load_config"]


def test_a_replica_a_day_ahead_cannot_cool_a_deployment_down_for_a_day(load_config: LoadConfig):
    now = 1000.0
    config = load_config({"model_list": [{"model_name": "gpt", "litellm_params": {"model": "openai/x"}}]})
    router = Router(config, clock=lambda: now)
    (one,) = config.deployments
    router.cool(one.id, 86_400.0)
    assert router.health[one.id].resting(now + MAX_COOLDOWN_SECONDS - 1)
    assert not router.health[one.id].resting(now + MAX_COOLDOWN_SECONDS)


def test_a_replica_behind_in_time_changes_nothing(load_config: LoadConfig):
    config = load_config({"model_list": [{"model_name": "gpt", "litellm_params": {"model": "openai/x"}}]})
    router = Router(config, clock=lambda: 1000.0)
    (one,) = config.deployments
    router.cool(one.id, -86_400.0)
    assert not router.health[one.id].resting(1000.0)
