"""Where a request stands in a trace: what its `traceparent` says, and whether it is traced. Pure but for its dice.

Source: https://www.w3.org/TR/trace-context/
"""

import random
import re

from ..config.tracing import Sampler
from ..recording import TraceContext

_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII
)
_SAMPLED = 1
_WHOLE = 1 << 64


def context(traceparent: str | None, sampler: Sampler) -> TraceContext | None:
    """None for a request that is not traced. A header that is none counts as missing."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if found is None or (found[1] == "00" and found[5]):
        trace = random.getrandbits(128)
        return TraceContext(trace.to_bytes(16, "big")) if _drawn(trace, sampler.ratio) else None
    trace = int(found[2], 16)
    traced = int(found[4], 16) & _SAMPLED if sampler.parent else _drawn(trace, sampler.ratio)
    return TraceContext(bytes.fromhex(found[2]), bytes.fromhex(found[3])) if traced else None


def new_span() -> bytes:
    return random.getrandbits(64).to_bytes(8, "big")


def _drawn(trace: int, ratio: float) -> bool:
    """As OpenTelemetry's SDKs draw, so that services of the same ratio trace the same requests."""
    return trace % _WHOLE < round(ratio * _WHOLE)
