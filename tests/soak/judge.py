"""Decides which outcomes the injected faults excuse. Everything else is a finding."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .calls import Call, Outcome, breaks_in_mid_stream

# Groups with one deployment and no fallback: the client sees what their provider does.
WITHOUT_FALLBACK = ("alone", "translated")
_UPSTREAM = (429, 500, 502, 503, 504, 529)
# Seconds after a fault during which the deployment of such a group may be in cooldown.
_COOLING = 20.0
KEPT_FINDINGS = 50


@dataclass(slots=True)
class Window:
    """A disruption's time window. `excuses` are outcomes as written by `Judge.shape`, with "*" for any model.
    `until` is None while it lasts."""

    name: str
    excuses: frozenset[str]
    since: float
    until: float | None = None


class Judge:
    """Counts outcomes and collects findings."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.excused: Counter[str] = Counter()
        self.findings: list[str] = []
        self.windows: list[Window] = []
        self.slowest = 0.0
        self._failed_alone = 0.0

    @contextmanager
    def window(self, name: str, *excuses: str, after: float = 0.0) -> Iterator[None]:
        """During the block and for `after` seconds, requests may end in one of these ways."""
        window = Window(name, frozenset(excuses), time.monotonic())
        self.windows.append(window)
        try:
            yield
        finally:
            window.until = time.monotonic() + after

    def found(self, finding: str) -> None:
        if len(self.findings) < KEPT_FINDINGS:
            self.findings.append(finding)
            print(f"FOUND: {finding}", file=sys.stderr, flush=True)

    def judge(self, call: Call, outcome: Outcome, began: float) -> None:
        now = time.monotonic()
        self.outcomes[f"{outcome.what} {outcome.status}" if outcome.status > 200 else outcome.what] += 1
        self.slowest = max(self.slowest, now - began)
        if call.model in WITHOUT_FALLBACK and call.injected:
            self._failed_alone = now
        if outcome.what in ("whole", "left"):
            return
        excuse = self._excuse(call, outcome, began, now)
        if excuse is not None:
            self.excused[excuse] += 1
            return
        injected = [behaviour.fault.value + f" {behaviour.status}" for behaviour in call.injected]
        self.found(f"{call.kind} of {call.model}, key {call.key}, stream {call.stream}: {outcome}, injected {injected}")

    def _excuse(self, call: Call, outcome: Outcome, began: float, now: float) -> str | None:
        if outcome.what == "wrong":
            return None
        if outcome.what == "refused" and outcome.status == 429:
            if outcome.error[0] == "rate_limit_error" and call.key in ("limited", "narrow"):
                return "limits of the key"
            if "budget_exceeded" in outcome.error and call.key == "poor":
                return "budget of the key"
        if outcome.what == "broken" and any(map(breaks_in_mid_stream, call.injected)):
            return "provider broke off in mid-stream"
        cooling = now - self._failed_alone < _COOLING + now - began
        if call.model == "alone" and cooling and outcome.what == "refused" and outcome.status in _UPSTREAM:
            return "the only provider failed"
        for window in self.windows:
            overlaps = began <= (window.until or now) and now >= window.since
            if overlaps and not window.excuses.isdisjoint(self.shapes(call, outcome)):
                return window.name
        return None

    @staticmethod
    def shapes(call: Call, outcome: Outcome) -> tuple[str, ...]:
        """The names by which windows excuse an outcome: what (and status) alone, for this model, for this key."""
        shape = f"{outcome.what} {outcome.status}" if outcome.what == "refused" else outcome.what
        return shape, f"{shape} of {call.model}", f"{shape} for {call.key}"
