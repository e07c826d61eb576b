"""Deadlines on the proxy's event loop, and cancellation."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from container.handlers.attempts import Deadline

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param


def test_expired_deadline_raises_timeout_error_and_the_task_continues(run: Run):
    async def work():
        with pytest.raises(TimeoutError), Deadline(0.01):
            await asyncio.Event().wait()
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(0)
        return task.cancelling()

    assert run(work()) == 0


def test_work_done_in_time_is_not_interrupted(run: Run):
    async def work():
        with Deadline(0.02):
            done = await asyncio.sleep(0, "done")
        await asyncio.sleep(0.05)
        return done

    assert run(work()) == "done"


def test_error_inside_ends_the_deadline(run: Run):
    async def work():
        with pytest.raises(OSError, match="broken"), Deadline(0.02):
            raise OSError("broken")
        await asyncio.sleep(0.05)

    run(work())


def test_cancelled_task_is_cancelled(run: Run):
    async def work():
        with Deadline(30):
            await asyncio.Event().wait()

    async def main():
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_task_cancelled_before_its_deadline_stays_cancelled_when_it_expires_during_cleanup(run: Run):
    async def work():
        with Deadline(0.01):
            try:
                await asyncio.Event().wait()
            finally:
                try:
                    await asyncio.Event().wait()  # until the deadline passes
                except asyncio.CancelledError:
                    pass

    async def main():
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_shorter_of_two_deadlines_raises_and_the_longer_continues(run: Run):
    async def work():
        with Deadline(30):
            with pytest.raises(TimeoutError), Deadline(0.01):
                await asyncio.Event().wait()
            return await asyncio.sleep(0, "on")

    assert run(work()) == "on"


def test_outer_deadline_raises_outside_the_inner_one(run: Run):
    async def work():
        inner = None
        try:
            with Deadline(0.01):
                try:
                    with Deadline(30):
                        await asyncio.Event().wait()
                except BaseException as error:
                    inner = type(error)
                    raise
        except TimeoutError:
            return inner

    assert run(work()) is asyncio.CancelledError


def test_zero_deadline_expires_at_once(run: Run):
    async def work():
        with pytest.raises(TimeoutError), Deadline(0):
            await asyncio.Event().wait()

    run(work())
