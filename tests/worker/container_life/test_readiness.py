"""The intervals between readiness probes of a container."""

import itertools

from worker.edge.container_life.readiness import waits


def test_waits_grow_to_one_second():
    first = list(itertools.islice(waits(), 20))
    assert first == sorted(first)
    assert first[-1] == 1.0
