"""Encoded spans, decoded with the official protobuf messages."""

from hypothesis import given
from hypothesis import strategies as st

from container.records import traces
from container.records.traces import Span
from tests.tracing.collector import read

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
VALUES = TEXTS | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
NANOSECONDS = st.integers(0, 10**9)
SPANS = st.builds(
    Span,
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=8, max_size=8),
    st.just(b"") | st.binary(min_size=8, max_size=8),
    st.booleans(),
    TEXTS,
    st.sampled_from([traces.SERVER, traces.CLIENT]),
    NANOSECONDS,
    st.integers(10**9, 2**60),
    st.dictionaries(TEXTS, VALUES, max_size=20),
    st.booleans(),
)


@given(st.lists(SPANS, max_size=5), st.dictionaries(TEXTS, TEXTS, max_size=5))
def test_a_span_survives_a_round_trip(spans, resource):
    found = read(traces.request(resource, "scope", "1.0", spans))
    assert len(found) == len(spans)
    for got, span in zip(found, spans, strict=True):
        assert (got.trace, got.id, got.parent) == (span.trace.hex(), span.id.hex(), span.parent.hex())
        assert (got.name, got.kind, got.start, got.end) == (span.name, span.kind, span.start, span.end)
        assert (got.attributes, got.failed, got.resource) == (span.attributes, span.failed, resource)
        assert {name: type(value) for name, value in got.attributes.items()} == {
            name: type(value) for name, value in span.attributes.items()
        }
        assert bool(got.flags & 0x200) is span.remote


def test_a_lone_surrogate_is_encoded():
    span = Span(b"t" * 16, b"s" * 8, b"", False, "x\ud800", traces.CLIENT, 1, 2, {"a": "\udfff"}, False)
    (found,) = read(traces.request({}, "scope", "1.0", [span]))
    assert (found.name, found.attributes) == ("x?", {"a": "?"})
