"""`traceparent` as specified by W3C Trace Context, and the samplers."""

import pytest

from container.config.observability import Sampler
from container.records.traces import context

ALWAYS, PARENT_ONLY = Sampler(False, 1.0), Sampler(True, 0.0)
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize("flags", ["00", "01", "03", "ff"])
def test_a_valid_traceparent_is_continued(flags):
    found = context(f"00-{TRACE}-{SPAN}-{flags}", ALWAYS)
    assert found == (bytes.fromhex(TRACE), bytes.fromhex(SPAN))


def test_a_traceparent_of_a_later_version_may_be_longer():
    assert context(f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", ALWAYS) == (
        bytes.fromhex(TRACE),
        bytes.fromhex(SPAN),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-1",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_an_invalid_traceparent_starts_a_new_trace(wrong):
    found = context(wrong, ALWAYS)
    assert found is not None
    assert (len(found.trace), found.parent) == (16, b"")
    assert found.trace != bytes.fromhex(TRACE)
    assert context(wrong, PARENT_ONLY) is None


def test_the_client_decides_if_the_sampler_is_parent_based():
    wants, wants_not = (f"00-{TRACE}-{SPAN}-{flags}" for flags in ("01", "00"))
    assert context(wants, PARENT_ONLY) is not None
    assert context(wants_not, Sampler(True, 1.0)) is None
    assert context(wants, Sampler(False, 0.0)) is None
    assert context(wants_not, ALWAYS) is not None


def test_the_ratio_sampler_is_accurate_and_consistent_per_trace():
    half = Sampler(False, 0.5)
    drawn = [context(None, half) for _ in range(2000)]
    assert 800 < sum(one is not None for one in drawn) < 1200
    for one in filter(None, drawn[:50]):
        assert context(f"00-{one.trace.hex()}-{SPAN}-00", half) is not None
