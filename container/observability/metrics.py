"""The metrics of this process, including the standard `process_*` metrics, and their Prometheus text exposition.

prometheus_client is not used: an observation there costs six times as much, and importing it takes half a second
(docs/metrics.md). Only the event loop writes, so there are no locks.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import os
import resource
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple

from worker.core.pricing.usage import Usage
from worker.core.values.money import NANO

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


# Seconds: from an immediate refusal to a request's maximum of ten minutes.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
BATCH_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
CLIENT_LEFT = 499

_REQUEST = ("endpoint", "model", "status")
_DEPLOYMENT = ("model", "deployment")

requests = Counter("litellm_router_requests_total", "Finished requests.", _REQUEST)
request_duration = Histogram(
    "litellm_router_request_duration_seconds",
    "Time from request headers to the end of the response.",
    _REQUEST,
    bounds=SECONDS,
)
first_token = Histogram(
    "litellm_router_time_to_first_token_seconds",
    "Time from request headers to the first chunk of a stream.",
    ("model",),
    bounds=SECONDS,
)
attempts = Counter("litellm_router_attempts_total", "Attempts at deployments, by outcome.", (*_DEPLOYMENT, "outcome"))
retries = Counter("litellm_router_retries_total", "Retries in the same model group.", ("model",))
fallbacks = Counter("litellm_router_fallbacks_total", "Requests that were sent to a fallback.", ("model", "fallback"))
prompt_tokens = Counter("litellm_router_prompt_tokens_total", "Prompt tokens, including cached ones.", _DEPLOYMENT)
completion_tokens = Counter(
    "litellm_router_completion_tokens_total", "Completion tokens, including reasoning.", _DEPLOYMENT
)
cached_tokens = Counter(
    "litellm_router_cached_prompt_tokens_total", "Prompt tokens read from a provider's cache.", _DEPLOYMENT
)
reasoning_tokens = Counter("litellm_router_reasoning_tokens_total", "Tokens of reasoning.", _DEPLOYMENT)
spend = Counter("litellm_router_spend_usd_total", "Cost of responses in US dollars.", _DEPLOYMENT, unit=NANO)
turn_duration = Histogram(
    "litellm_router_ledger_batch_duration_seconds", "Duration of ledger transactions.", bounds=BATCH_SECONDS
)
ledger_unavailable = Counter("litellm_router_ledger_unavailable_total", "Failed ledger transactions.")
cache_hits = Counter("litellm_router_cache_hits_total", "Requests answered from the response cache.", ("model",))
spans_sent = Counter("litellm_router_spans_sent_total", "Spans accepted by the collector.")
spans_dropped = Counter("litellm_router_spans_dropped_total", "Spans that were dropped or rejected.")
engine_restarts = Counter("litellm_router_engine_restarts_total", "Unexpected exits of the engine.")

RECORDED = (
    requests,
    request_duration,
    first_token,
    attempts,
    retries,
    fallbacks,
    prompt_tokens,
    completion_tokens,
    cached_tokens,
    reasoning_tokens,
    spend,
    turn_duration,
    ledger_unavailable,
    cache_hits,
    spans_sent,
    spans_dropped,
    engine_restarts,
)
_CLASSES = {hundreds: f"{hundreds}xx" for hundreds in range(1, 6)}


def request(endpoint: str, model: str, status: int, seconds: float) -> None:
    """Count a finished request. `status`: CLIENT_LEFT if the client disconnected. `model`: its group."""
    labels = (endpoint, model, "client_left" if status == CLIENT_LEFT else _CLASSES.get(status // 100, OTHER))
    requests.add(labels)
    request_duration.observe(labels, seconds)


def answered(model: str, deployment: str, used: Usage, cost: int) -> None:
    """Count a response's usage. `cost` is in nano-dollars."""
    labels = (model, deployment)
    prompt_tokens.add(labels, used.prompt)
    completion_tokens.add(labels, used.completion)
    if used.cached:
        cached_tokens.add(labels, used.cached)
    if used.reasoning:
        reasoning_tokens.add(labels, used.reasoning)
    spend.add(labels, cost)


_SELF = Path("/proc/self")
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process(NamedTuple):
    """Figures of a process. `started`: seconds since 1970."""

    cpu_seconds: float
    resident_bytes: float
    virtual_bytes: float
    descriptors: float
    most_descriptors: float
    started: float


class Recorded(NamedTuple):
    """What one process has recorded, for `text_of_all`. `process`: None where the system does not say."""

    families: list[Any]
    process: Process | None


def text(families: Iterable[Family]) -> str:
    return "".join(family.text() for family in families)


def recorded() -> Recorded:
    """Return what this process has recorded."""
    return Recorded([family.state() for family in RECORDED], _process())


def ended(known: Recorded, before: Recorded | None) -> Recorded:
    """Add what a process had recorded before it ended to that of `before` it, so that no counter goes back."""
    cpu = (known.process.cpu_seconds if known.process else 0.0) + (
        before.process.cpu_seconds if before and before.process else 0.0
    )
    states = [known.families, before.families] if before else [known.families]
    sums = [family.summed(column).state() for family, column in zip(RECORDED, zip(*states, strict=True), strict=True)]
    return Recorded(sums, Process(cpu, 0.0, 0.0, 0.0, 0.0, 0.0))


def text_of_all(processes: Sequence[Recorded]) -> str:
    """Return the text of the counters and of the `process_*` metrics, summed over processes."""
    columns = zip(*(one.families for one in processes), strict=True)
    sums = [family.summed(column) for family, column in zip(RECORDED, columns, strict=True)]
    figures = [one.process for one in processes if one.process]
    if not figures:
        return text(sums)
    added = Process(*map(sum, zip(*figures, strict=True)))
    started = min(one.started for one in figures if one.started)
    return text((*sums, *_families(added._replace(started=started))))


def families() -> list[Gauge]:
    """Return the `process_*` metrics of this process, without the engine's."""
    process = _process()
    return _families(process) if process else []


def _process() -> Process | None:
    try:
        # The name in parentheses may contain anything, including spaces.
        fields = (_SELF / "stat").read_text().rpartition(")")[2].split()
        booted = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
        descriptors = len(os.listdir(_SELF / "fd"))
    except (OSError, StopIteration):
        return None
    # See https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html; indices start after the name.
    user, system, started, virtual, resident = (int(fields[index]) for index in (11, 12, 19, 20, 21))
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    began = int(booted.split()[1]) + started / _TICK
    return Process((user + system) / _TICK, resident * _PAGE, virtual, descriptors, most, began)


def _families(of: Process) -> list[Gauge]:
    cpu = "Total user and system CPU time spent in seconds."
    return [
        Total("process_cpu_seconds_total", cpu, values=[((), of.cpu_seconds)]),
        _gauge("process_resident_memory_bytes", "Resident memory size in bytes.", of.resident_bytes),
        _gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", of.virtual_bytes),
        _gauge("process_open_fds", "Number of open file descriptors.", of.descriptors),
        _gauge("process_max_fds", "Maximum number of open file descriptors.", of.most_descriptors),
        _gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", of.started),
    ]


def _gauge(name: str, help: str, value: float) -> Gauge:
    return Gauge(name, help, values=[((), value)])
