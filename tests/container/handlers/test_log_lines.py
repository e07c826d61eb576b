"""What the ledger learns of failed attempts."""

import json

import pytest

from container.handlers.log_lines import _added
from container.routing.health import Outcome
from tests.tracing.figures import STEP
from worker.core.ledger.alerts import LONG_REST_SECONDS


@pytest.mark.parametrize(
    ("ailing", "outcome", "told"),
    [
        (LONG_REST_SECONDS, Outcome("server", 500), True),
        (LONG_REST_SECONDS - 1, Outcome("server", 500), False),
        (LONG_REST_SECONDS, Outcome("caller", 400), False),  # the request's own fault
    ],
)
def test_the_ledger_is_told_of_a_deployment_that_rests_for_long(ailing: int, outcome: Outcome, told: bool) -> None:
    (attempt,) = json.loads(_added("", STEP._replace(ailing=ailing), outcome, 0.0))
    assert ("ailing" in attempt) == told
