"""A fixture for tests in which hypothesis shall draw the same examples whatever else the test run has imported."""

from collections.abc import Iterator

import pytest
from hypothesis.internal.conjecture import providers


@pytest.fixture(autouse=True, scope="session")
def no_constants_of_other_modules() -> Iterator[None]:
    """Hypothesis draws constants out of every module of ours that is imported, so that a test alone sees other
    examples than in the whole run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(providers, "_get_local_constants", lambda: providers.Constants())
        yield
