"""Which of several healthy deployments goes first."""

import random
from collections.abc import Sequence

from .groups import Target


def simple_shuffle(targets: Sequence[Target], rng: random.Random) -> Target:
    """By `weight` where one is given, else by `rpm`, else by `tpm`, else all alike."""
    if len(targets) == 1:
        return targets[0]
    for attribute in ("weight", "rpm", "tpm"):
        weights = [getattr(t.deployment, attribute) or 0.0 for t in targets]
        if any(weights):
            return rng.choices(targets, weights)[0]
    return targets[rng.randrange(len(targets))]
