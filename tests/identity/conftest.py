"""Fixtures: each door's verifier, and a server with the issuer's keys.

async def test_it(new_verifier, trust):          # runs alone and at the edge
    verify = new_verifier(leeway=10)
    assert "claims" in await verify(issuer.token(), [trust])
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from worker.core.identity.jwt import Trust

from . import issuer
from .doors import Alone, AtTheEdge, Verifying, Workerd
from .key_server import KeyServer

NewVerifier = Callable[..., Verifying]


@pytest.fixture(scope="session")
def workerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workerd]:
    found = Workerd(tmp_path_factory.mktemp("identity"))
    found.start()
    yield found
    found.stop()


@pytest.fixture(params=["alone", "edge"])
async def new_verifier(request: pytest.FixtureRequest) -> AsyncIterator[NewVerifier]:
    made: list[Verifying] = []

    def new(**options: Any) -> Verifying:
        if request.param == "alone":
            made.append(Alone(**options))
        else:
            made.append(AtTheEdge(request.getfixturevalue("workerd"), **options))
        return made[-1]

    yield new
    for one in made:
        await one.close()


@pytest.fixture
def server() -> Iterator[KeyServer]:
    found = KeyServer(issuer.key_set())
    yield found
    found.close()


@pytest.fixture
def trust(server: KeyServer) -> Trust:
    return Trust(issuer.ISSUER, (issuer.AUDIENCE,), (server.url,))
