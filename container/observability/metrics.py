"""The metrics of this process, including the standard `process_*` metrics."""

import os
import resource
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from worker.core.pricing.usage import Usage
from worker.core.values.money import NANO

from .metric_families import OTHER, Counter, Family, Gauge, Histogram, Total

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
