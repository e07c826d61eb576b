"""Disruptions of the system under load: one at a time, in an order and with pauses from the seed."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Blow:
    """A disruption. `do` returns when it is over. `until` is the share of the run after which it no longer happens,
    because it restarts what is being watched, such as a process' memory."""

    name: str
    do: Callable[[random.Random], Awaitable[None]]
    until: float = 1.0


class Chaos:
    def __init__(self, blows: Sequence[Blow], seed: random.Random) -> None:
        self._blows = blows
        self._seed = seed
        self.counts: Counter[str] = Counter()
        self.now = ""

    async def run(self, seconds: float | None, pause: float) -> None:
        """Runs for the given number of seconds, with an average of `pause` seconds between disruptions. Each kind
        takes its turn in random order, those that end early first. None: until each kind had one turn."""
        await asyncio.sleep(min(pause, 3))
        if seconds is None:
            for blow in self._shuffled(self._blows):
                await self._strike(blow)
                await asyncio.sleep(self._seed.uniform(0.5, 1.5) * pause)
            return
        began = time.monotonic()
        bag: list[Blow] = []
        while (share := (time.monotonic() - began) / seconds) < 1:
            possible = [blow for blow in self._blows if share < blow.until]
            bag = [blow for blow in bag if share < blow.until]
            if not bag:
                bag = self._shuffled(possible)
            await self._strike(bag.pop(0))
            left = seconds - (time.monotonic() - began)
            await asyncio.sleep(max(0.0, min(self._seed.uniform(0.5, 1.5) * pause, left)))

    def _shuffled(self, blows: Sequence[Blow]) -> list[Blow]:
        return sorted(self._seed.sample(blows, len(blows)), key=lambda blow: blow.until)

    async def _strike(self, blow: Blow) -> None:
        self.now = blow.name
        await blow.do(self._seed)
        self.counts[blow.name] += 1
        self.now = ""
