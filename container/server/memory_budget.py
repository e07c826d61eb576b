"""A memory budget shared by uploads. Uploads queue, unread, while the budget is full."""

import asyncio
from collections import deque


class MemoryBudgetFull(Exception):
    """No memory was freed in time."""


class Lease:
    """The memory that one upload holds."""

    __slots__ = ("_budget", "size")

    def __init__(self, budget: "MemoryBudget", size: int) -> None:
        self._budget = budget
        self.size = size

    def shrink(self, size: int) -> None:
        """Return all but `size` bytes to the budget."""
        if size < self.size:
            given, self.size = self.size - size, size
            self._budget.give(given)

    def free(self) -> None:
        """Return all of it. Further calls do nothing."""
        self.shrink(0)


class MemoryBudget:
    """`size` is in bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.left = size
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waited_for(self) -> bool:
        """Whether any upload is queued."""
        return bool(self._line)

    async def take(self, size: int, patience: float) -> Lease:
        """Lease `size` bytes, capped at the whole budget. Raises MemoryBudgetFull after `patience` seconds."""
        size = min(size, self.size)
        if not self._line and size <= self.left:
            self.left -= size
            return Lease(self, size)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((size, turn))
        try:
            async with asyncio.timeout(patience):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # granted just as the waiter was cancelled
                self.give(size)
            else:
                turn.cancel()
                self._serve()  # the next in line may need less
            if isinstance(error, TimeoutError):
                raise MemoryBudgetFull from None
            raise
        return Lease(self, size)

    def give(self, size: int) -> None:
        self.left += size
        self._serve()

    def _serve(self) -> None:
        while self._line:
            size, turn = self._line[0]
            if not turn.cancelled():  # still waiting
                if size > self.left:
                    return
                self.left -= size
                turn.set_result(None)
            self._line.popleft()
