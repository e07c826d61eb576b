"""Ids of requests."""

import pytest

from worker.api.request_id import request_id


@pytest.mark.parametrize("given", ["12345678", "a-b_c.d:e-1", "x" * 128, "0193e4c8-7d0e-7c3a-9d6f-0123456789ab"])
def test_a_harmless_id_is_taken(given):
    assert request_id(given) == given


@pytest.mark.parametrize(
    "given",
    [None, "", "short", "x" * 129, "with space", "line\nbreak", "line-break\n", "<script>1", "ümlaut-12", 'quo"te-12'],
)
def test_any_other_is_replaced(given):
    made = request_id(given)
    assert made != given
    assert request_id(made) == made


def test_no_two_are_alike():
    assert len({request_id(None) for _ in range(10_000)}) == 10_000
