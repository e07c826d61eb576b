"""One proxy process for each module, and the provider behind it."""

from collections.abc import Iterator

import pytest

from tests.container.serve.support import models
from tests.fakes.server import FakeProvider
from tests.processes import RunningProxy, StartProxy


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        yield one


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy, provider: FakeProvider) -> RunningProxy:
    """A shared proxy. It accepts bodies up to 1 MB and web pages of one origin."""
    environment = {"MAX_BODY_MB": "1", "CORS_ALLOW_ORIGINS": "https://app.example"}
    return module_proxy(models(provider), environment=environment)


@pytest.fixture(autouse=True)
def a_provider_that_behaves(provider: FakeProvider) -> None:
    provider.reset()
