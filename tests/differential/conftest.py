"""One fake for each provider, and the same generated requests in every run."""

from collections.abc import Iterator

import pytest

from tests.fakes.server import FakeProvider
from tests.same_examples import no_constants_of_other_modules

__all__ = ["no_constants_of_other_modules"]


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider
