"""A memory budget of a few bytes: queueing, order, and release on cancellation."""

import asyncio

import pytest

from container.handlers.behind_the_edge import MemoryBudget, MemoryBudgetFull


async def test_leases_are_granted_and_released():
    room = MemoryBudget(10)
    one = await room.take(6, 1)
    two = await room.take(4, 1)
    assert room.left == 0
    one.shrink(2)
    assert room.left == 4
    one.shrink(5)
    assert (room.left, one.size) == (4, 2)
    one.free()
    one.free()
    two.free()
    assert room.left == 10


async def test_first_waiter_is_served_first():
    room = MemoryBudget(10)
    first = await room.take(8, 1)
    order: list[str] = []

    async def wants(name: str, size: int) -> None:
        share = await room.take(size, 5)
        order.append(name)
        await asyncio.sleep(0)
        share.free()

    waiting = [asyncio.create_task(wants(name, size)) for name, size in (("large", 9), ("small", 1))]
    await asyncio.sleep(0)
    assert order == [], "the small one would fit, but it is not its turn"
    first.free()
    await asyncio.gather(*waiting)
    assert order == ["large", "small"]
    assert room.left == 10


async def test_oversized_request_gets_the_whole_budget():
    room = MemoryBudget(10)
    share = await room.take(50, 1)
    assert (share.size, room.left) == (10, 0)
    share.free()
    assert room.left == 10


async def test_wait_times_out():
    room = MemoryBudget(10)
    share = await room.take(10, 1)
    with pytest.raises(MemoryBudgetFull):
        await room.take(1, 0.01)
    share.free()
    assert room.left == 10
    assert (await room.take(10, 0.01)).size == 10


async def test_cancelled_waiter_lets_the_next_ones_pass():
    room = MemoryBudget(10)
    share = await room.take(5, 1)
    large = asyncio.create_task(room.take(10, 5))
    await asyncio.sleep(0)
    small = asyncio.create_task(room.take(5, 5))
    await asyncio.sleep(0)
    large.cancel()
    assert (await small).size == 5
    share.free()
    (await small).free()
    assert room.left == 10


async def test_all_leave_at_once():
    """Lease holders and waiters leave in the same step of the event loop."""
    room = MemoryBudget(10)

    async def upload() -> None:
        share = await room.take(5, 60)
        try:
            await asyncio.sleep(3600)
        finally:
            share.free()

    for leaving in (range(8), range(7, -1, -1)):
        tasks = [asyncio.create_task(upload()) for _ in range(8)]
        await asyncio.sleep(0.01)
        for number in leaving:
            tasks[number].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert room.left == 10
        (await room.take(10, 0.01)).free()
