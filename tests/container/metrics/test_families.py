"""The metrics exposition, parsed with Prometheus' own parser."""

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from container.observability import metrics
from container.observability.metrics import Counter, Family, Gauge, Histogram


def samples(family: Family) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    [one] = parsed(family.text())
    assert one.type == family.kind
    assert one.documentation == family.help
    return {(s.name, tuple(s.labels.items())): s.value for s in one.samples}


def test_unlabeled_counter_exists_from_the_start():
    counter = Counter("things_total", "Things.")
    assert samples(counter) == {("things_total", ()): 0}
    counter.add()
    counter.add(amount=2.5)
    assert samples(counter) == {("things_total", ()): 3.5}


def test_counter_counts_each_label_set():
    counter = Counter("things_total", "Things.", ("model", "status"))
    for labels in (("a", "2xx"), ("a", "2xx"), ("b", "5xx")):
        counter.add(labels)
    assert samples(counter) == {
        ("things_total", (("model", "a"), ("status", "2xx"))): 2,
        ("things_total", (("model", "b"), ("status", "5xx"))): 1,
    }


def test_integer_units_are_summed_exactly():
    counter = Counter("usd_total", "US dollars.", unit=10**9)
    for _ in range(1000):
        counter.add(amount=75)
    assert samples(counter) == {("usd_total", ()): 0.000075}


@pytest.mark.parametrize("value", ['quote"', "back\\slash", "line\nbreak", "ü/😀", ""])
def test_label_may_be_any_text(value):
    gauge = Gauge("things", "Things.", ("model",), [((value,), 1)])
    assert samples(gauge) == {("things", (("model", value),)): 1}


def test_histogram_is_cumulative_with_its_bucket_bounds():
    histogram = Histogram("wait_seconds", "Waits.", ("model",), bounds=(0.5, 1, 5))
    for value in (0.1, 0.5, 0.7, 5, 6):
        histogram.observe(("a",), value)
    found = samples(histogram)
    buckets = {labels[1][1]: value for (name, labels), value in found.items() if name == "wait_seconds_bucket"}
    assert buckets == {"0.5": 2, "1": 3, "5": 4, "+Inf": 5}
    assert found["wait_seconds_sum", (("model", "a"),)] == pytest.approx(12.3)
    assert found["wait_seconds_count", (("model", "a"),)] == 5


def test_excess_label_sets_are_counted_together(monkeypatch):
    monkeypatch.setattr(metrics, "MOST_SERIES", 3)
    counter = Counter("things_total", "Things.", ("model", "deployment"))
    histogram = Histogram("wait_seconds", "Waits.", ("model",), bounds=(1,))
    for number in range(10):
        counter.add((f"m{number}", "d"))
        histogram.observe((f"m{number}",), 0.5)
    counted = samples(counter)
    assert len(counted) == 4
    assert counted["things_total", (("model", "other"), ("deployment", "other"))] == 7
    assert samples(histogram)["wait_seconds_count", (("model", "other"),)] == 7
