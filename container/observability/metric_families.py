"""Counters, gauges and histograms, and their Prometheus text exposition.

prometheus_client is not used: an observation there costs six times as much, and importing it takes half a second
(docs/metrics.md). Only the event loop writes, so there are no locks.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Maximum label sets per family; further ones are counted as OTHER. Labels are names from the config, so only many
# reloads can create this many.
MOST_SERIES = 5000
OTHER = "other"

Labels = tuple[str, ...]


class Family:
    """`name`: without the `_total` of counters. `labels`: the label names."""

    kind = ""

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.help = help
        self.labels = tuple(labels)

    def text(self) -> str:
        lines = "".join(f"{line}\n" for line in self._lines())
        return f"# HELP {self.name} {self.help}\n# TYPE {self.name} {self.kind}\n{lines}"

    def state(self) -> Any:
        """Return what was recorded, to be sent to another process."""
        raise NotImplementedError

    def summed(self, states: Iterable[Any]) -> "Family":
        """Return the same family with the sum of what several processes have recorded."""
        raise NotImplementedError

    def _lines(self) -> Iterator[str]:
        raise NotImplementedError

    def _key(self, labels: Labels, known: Mapping[Labels, object]) -> Labels:
        return labels if len(known) < MOST_SERIES else (OTHER,) * len(self.labels)


class Counter(Family):
    """A counter. Amounts are divided by `unit` in the exposition, so that sums of integers stay exact."""

    kind = "counter"

    def __init__(self, name: str, help: str, labels: Sequence[str] = (), unit: int = 1) -> None:
        super().__init__(name, help, labels)
        self._unit = unit
        self._values: dict[Labels, float] = {} if labels else {(): 0}

    def add(self, labels: Labels = (), amount: float = 1) -> None:
        values = self._values
        if labels in values:
            values[labels] += amount
        else:
            labels = self._key(labels, values)
            values[labels] = values.get(labels, 0) + amount

    def state(self) -> dict[Labels, float]:
        return dict(self._values)

    def summed(self, states: Iterable[Mapping[Labels, float]]) -> "Counter":
        other = copy(self)
        other._values = {} if self.labels else {(): 0}
        for values in states:
            for labels, value in values.items():
                other.add(labels, value)
        return other

    def _lines(self) -> Iterator[str]:
        for labels, value in self._values.items():
            yield f"{self.name}{_braces(self.labels, labels)} {_number(value / self._unit)}"


class Gauge(Family):
    """A gauge with the values for one exposition."""

    kind = "gauge"

    def __init__(
        self, name: str, help: str, labels: Sequence[str] = (), values: Iterable[tuple[Labels, float]] = ()
    ) -> None:
        super().__init__(name, help, labels)
        self._values = tuple(values)

    def _lines(self) -> Iterator[str]:
        for labels, value in self._values:
            yield f"{self.name}{_braces(self.labels, labels)} {_number(value)}"


class Total(Gauge):
    """A counter whose value is maintained elsewhere."""

    kind = "counter"


class Histogram(Family):
    """A histogram. `bounds`: upper bounds of the buckets, ascending, without `+Inf`."""

    kind = "histogram"

    def __init__(self, name: str, help: str, labels: Sequence[str] = (), *, bounds: Sequence[float]) -> None:
        super().__init__(name, help, labels)
        self._bounds = tuple(bounds)
        self._series: dict[Labels, _Series] = {}
        if not labels:
            self._series[()] = _Series(len(bounds))

    def observe(self, labels: Labels, value: float) -> None:
        series = self._series.get(labels)
        if series is None:
            labels = self._key(labels, self._series)
            series = self._series.setdefault(labels, _Series(len(self._bounds)))
        series.sum += value
        series.counts[bisect_left(self._bounds, value)] += 1

    def state(self) -> dict[Labels, tuple[float, list[int]]]:
        return {labels: (series.sum, list(series.counts)) for labels, series in self._series.items()}

    def summed(self, states: Iterable[Mapping[Labels, tuple[float, Sequence[int]]]]) -> "Histogram":
        other = copy(self)
        other._series = {} if self.labels else {(): _Series(len(self._bounds))}
        for found in states:
            for labels, (total, counts) in found.items():
                labels = labels if labels in other._series else other._key(labels, other._series)
                series = other._series.setdefault(labels, _Series(len(self._bounds)))
                series.sum += total
                series.counts = [mine + theirs for mine, theirs in zip(series.counts, counts, strict=True)]
        return other

    def _lines(self) -> Iterator[str]:
        names = (*self.labels, "le")
        for labels, series in self._series.items():
            total = 0
            for bound, count in zip((*self._bounds, None), series.counts, strict=True):
                total += count
                end = "+Inf" if bound is None else _number(bound)
                yield f"{self.name}_bucket{_braces(names, (*labels, end))} {total}"
            braces = _braces(self.labels, labels)
            yield f"{self.name}_sum{braces} {_number(series.sum)}"
            yield f"{self.name}_count{braces} {total}"


class _Series:
    __slots__ = ("counts", "sum")

    def __init__(self, bounds: int) -> None:
        self.sum = 0.0
        self.counts = [0] * (bounds + 1)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _braces(names: Labels, values: Labels) -> str:
    if not names:
        return ""
    return "{" + ",".join(f'{n}="{_escaped(v)}"' for n, v in zip(names, values, strict=True)) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
