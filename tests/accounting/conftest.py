"""Fixtures: a standalone proxy with a ledger and fake providers."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.fakes.server import FakeProvider
from tests.money import Money, deployment, wait_for
from tests.processes import MASTER_KEY, ROOT, RunningProxy, StartProxy


class Ledgered(Money):
    """A running proxy with a ledger."""

    def __init__(self, proxy: RunningProxy) -> None:
        super().__init__(httpx.Client(base_url=proxy.url, timeout=60), MASTER_KEY)
        self.proxy = proxy

    def settled(self, seconds: float = 5.0) -> dict[str, Any]:
        """Waits until no request is open, then returns the global spend."""
        return wait_for(self.spend, lambda found: found["running_requests"] == 0, seconds)


@pytest.fixture
def start(proxy: StartProxy, fake: FakeProvider) -> Callable[..., Ledgered]:
    """`start(litellm_settings…, environment=…, models=[…], cwd=…)`. The default is one model, `gpt`."""

    def started(*, models: list[dict[str, Any]] | None = None, more: Any = None, **options: Any) -> Ledgered:
        environment, cwd = options.pop("environment", {}), options.pop("cwd", ROOT)
        general = options.pop("general", None)
        sections = more or {}
        config = {
            "model_list": models or [deployment(fake, "gpt")],
            "router_settings": {"num_retries": 0, "disable_cooldowns": True, **sections},
        }
        if general:
            config["general_settings"] = general
        if options:
            config["litellm_settings"] = options
        return Ledgered(proxy(config, environment=environment, cwd=cwd))

    return started


Start = Callable[..., Ledgered]
