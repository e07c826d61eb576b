"""A fixture that makes hypothesis draw the same examples regardless of the other modules in the test run."""

from collections.abc import Iterator

import pytest
from hypothesis.internal.conjecture import providers


@pytest.fixture(autouse=True, scope="session")
def no_constants_of_other_modules() -> Iterator[None]:
    """Hypothesis draws constants from every imported module of ours, so a test alone would get other examples than in
    the whole run.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(providers, "_get_local_constants", lambda: providers.Constants())
        yield
