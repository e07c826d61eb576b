"""The order of the tests names existing files, and the summary counts the skipped tests."""

import pytest

from tests import order
from tests.processes import ROOT


@pytest.mark.parametrize("prefix", sorted({*order.LONGEST, *order.TOGETHER, *order.APART}))
def test_every_path_of_the_order_exists(prefix: str):
    folder, _, name = prefix.rpartition("/")
    assert any((ROOT / folder).glob(f"{name}*"))


def test_skips_are_counted_by_reason():
    assert order.skips([]) == "nothing"
    assert order.skips(["Skipped: no Docker", "Skipped: no IPv6", "Skipped: no Docker"]) == "2 × no Docker; 1 × no IPv6"


def test_a_test_with_a_proxy_starts_a_process(request: pytest.FixtureRequest):
    assert not order.starts_a_process(request.node)
    request.node.fixturenames.append("proxy")
    try:
        assert order.starts_a_process(request.node)
    finally:
        request.node.fixturenames.remove("proxy")
