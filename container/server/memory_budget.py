"""Memory that uploads share: who finds none waits in line, and reads nothing before it is their turn."""

import asyncio
from collections import deque


class NoRoom(Exception):
    """None came free in time."""


class Lease:
    """What one upload takes of a room, until it is given back."""

    __slots__ = ("_room", "size")

    def __init__(self, room: "MemoryBudget", size: int) -> None:
        self._room = room
        self.size = size

    def shrink(self, size: int) -> None:
        """Gives back what is not needed."""
        if size < self.size:
            given, self.size = self.size - size, size
            self._room.give(given)

    def free(self) -> None:
        """Gives back all; once more is nothing."""
        self.shrink(0)


class MemoryBudget:
    """`size`: bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.left = size
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waited_for(self) -> bool:
        """Whether anybody stands in line."""
        return bool(self._line)

    async def take(self, size: int, patience: float) -> Lease:
        """A share of `size` bytes, at most the whole room. Raises NoRoom after `patience` seconds."""
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
            if turn.done() and not turn.cancelled():  # its turn came as it left
                self.give(size)
            else:
                turn.cancel()
                self._serve()  # those behind it may need less
            if isinstance(error, TimeoutError):
                raise NoRoom from None
            raise
        return Lease(self, size)

    def give(self, size: int) -> None:
        self.left += size
        self._serve()

    def _serve(self) -> None:
        while self._line:
            size, turn = self._line[0]
            if not turn.cancelled():  # whoever waited has not left
                if size > self.left:
                    return
                self.left -= size
                turn.set_result(None)
            self._line.popleft()
