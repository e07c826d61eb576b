"""Request ids."""

import re

import pytest

from worker.core.api.headers import acceptable, new_request_id


@pytest.mark.parametrize("given", ["12345678", "a-b_c.d:e-1", "x" * 128, "0193e4c8-7d0e-7c3a-9d6f-0123456789ab"])
def test_a_safe_id_is_accepted(given):
    assert acceptable(given) == given


@pytest.mark.parametrize(
    "given",
    [None, "", "short", "x" * 129, "with space", "line\nbreak", "line-break\n", "<script>1", "ümlaut-12", 'quo"te-12'],
)
def test_an_unsafe_id_is_not(given):
    assert acceptable(given) is None


def test_a_generated_id_is_unique_and_safe():
    made = {new_request_id() for _ in range(10_000)}
    assert len(made) == 10_000
    assert all(re.fullmatch("[0-9a-f]{32}", id) and acceptable(id) for id in made)
