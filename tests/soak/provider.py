"""Fake providers that fail as planned for each call, which they recognize by the number in its prompt."""

import random
import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tests.fakes.behaviour import OK, Behaviour, Fault, failing
from tests.fakes.record import Recorded
from tests.fakes.server import FakeProvider

if TYPE_CHECKING:
    from tests.soak.calls import Call

_NUMBER = re.compile(rb"soak-(\d+)-")
_STATUSES = (429, 500, 502, 503, 529)
# Faults of the connection and of the response. Error statuses are listed separately.
_BREAKING = tuple(f for f in Fault if f not in (Fault.NONE, Fault.REJECT_STREAM_OPTIONS))


def random_fault(seed: random.Random) -> Behaviour:
    """A status for a third of the faults, slow bytes for a tenth, and otherwise one of the other faults."""
    die = seed.random()
    if die < 0.33:
        return failing(seed.choice(_STATUSES), retry_after=seed.choice((None, 0, 1)))
    if die < 0.43:
        return Behaviour(trickle=0.001)
    return Behaviour(seed.choice(_BREAKING), after=seed.randrange(1, 5))


def name_of(behaviour: Behaviour) -> str:
    if behaviour.fault is not Fault.NONE:
        return behaviour.fault.value
    if behaviour.trickle:
        return "slow_bytes"
    return str(behaviour.status) if behaviour.status != 200 else "slow_answer"


class SoakProvider(FakeProvider):
    """`running` are the load's calls by number. `counts` is how often each fault was injected."""

    def __init__(self, running: "Mapping[int, Call]") -> None:
        super().__init__(record=0, chunks=6)
        self.running = running
        self.counts: Counter[str] = Counter()

    def ordered(self, seen: Recorded) -> Behaviour:
        found = _NUMBER.search(seen.raw)
        call = self.running.get(int(found[1])) if found else None
        if call is None or not call.faults:
            return OK
        behaviour = call.faults.pop(0)
        call.injected.append(behaviour)
        self.counts[name_of(behaviour)] += 1
        return behaviour
