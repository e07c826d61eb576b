"""Calls between the hub and a worker, over a socket that they inherit.

A frame is a length and a pickled list of messages, so that what is sent in a few iterations of a busy event loop shares
a frame. A message is a call `(number, kind, arguments)`, its answer `(-number, fault, result)`, or a notice, whose
number is 0.
"""

import asyncio
import io
import pickle
import socket
import struct
from collections.abc import Callable
from functools import partial
from time import perf_counter as clock
from typing import Any

from worker.core.ledger.decision import Decision

from ..engine import EngineUnavailable
from ..observability import log
from ..stores import LedgerUnavailable

_LENGTH = struct.Struct("!I")
_CANCEL = "cancel"
# Messages of a busy event loop wait at most this many iterations for others, because a frame wakes the other process.
# An iteration shorter than this does nothing.
_ROUNDS = 4
_IDLE_SECONDS = 20e-6
# The hub runs decisions of this package, and takes nothing else that a worker names.
_SHARED = Decision.__module__.removesuffix("ledger.decision")
_FAULTS: dict[str, Callable[..., Exception]] = {"ledger": LedgerUnavailable, "engine": EngineUnavailable}


class LinkLost(LedgerUnavailable):
    """The process at the other end has ended. Without the hub there is no ledger."""


class Answer:
    """Takes the answer to a call and sends it, in place of a future that would have to be watched."""

    __slots__ = ("_link", "_number")

    def __init__(self, link: "Link", number: int) -> None:
        self._link: Link | None = link
        self._number = number

    def done(self) -> bool:
        """Whether it was given, or nobody waits for it any more."""
        return self._link is None

    def set_result(self, result: Any) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.answer(self._number, None, result)

    def set_exception(self, error: BaseException) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.answer(self._number, *_fault(error))

    def cancel(self) -> None:
        self._link = None


# Serves a call or a notice, whose answer is None. It returns the answer, a future or coroutine of it, or the `Answer`
# that it will give it to.
Serve = Callable[[str, tuple[Any, ...], Answer | None], Any]


class Link(asyncio.Protocol):
    """`lost` is called at the end."""

    def __init__(self, serve: Serve, lost: Callable[[], None], loads: Callable[[bytes], Any]) -> None:
        self._serve = serve
        self._lost = lost
        self._loads = loads
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._out: list[tuple] = []
        self._flushing = False
        self._numbers = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._serving: dict[int, asyncio.Future | Answer] = {}
        self._notices: set[asyncio.Task] = set()
        self._in = b""

    async def call(self, kind: str, *arguments: Any) -> Any:
        """Return the answer. Cancelling cancels the call at the other end, too. Raises LinkLost, LedgerUnavailable,
        EngineUnavailable, or RuntimeError with what else went wrong there."""
        if self._transport is None:
            raise LinkLost("The process that keeps the ledger has ended.")
        self._numbers += 1
        number = self._numbers
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[number] = future
        self._send((number, kind, arguments))
        try:
            return await future
        except asyncio.CancelledError:
            if self._waiting.pop(number, None) is not None:
                self._send((0, _CANCEL, (number,)))
            raise

    def tell(self, kind: str, *arguments: Any) -> None:
        """Send a notice, soon."""
        self._send((0, kind, arguments))

    def close(self) -> None:
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def _send(self, message: tuple) -> None:
        self._out.append(message)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._gather, _ROUNDS, clock())

    def _gather(self, rounds: int, began: float) -> None:
        """Send what is to be sent once the event loop is idle, or after a few iterations if it is busy."""
        now = clock()
        if rounds and now - began > _IDLE_SECONDS:
            self._loop.call_soon(self._gather, rounds - 1, now)
        else:
            self._flush()

    def _flush(self) -> None:
        self._flushing = False
        out, self._out = self._out, []
        if out and self._transport is not None:
            data = pickle.dumps(out, 5)
            self._transport.write(_LENGTH.pack(len(data)) + data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._in + data if self._in else data
        at, end = 0, len(data)
        while end - at >= 4:
            first = at + 4
            after = first + _LENGTH.unpack_from(data, at)[0]
            if after > end:
                break
            for message in self._loads(data[first:after]):
                self._received(*message)
            at = after
        self._in = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(LinkLost("The process that keeps the ledger has ended."))
        for future in (*self._serving.values(), *self._notices):
            future.cancel()
        self._lost()

    def _received(self, number: int, kind: Any, arguments: Any) -> None:
        if number < 0:
            future = self._waiting.pop(-number, None)
            if future is not None and not future.done():
                if kind is None:
                    future.set_result(arguments)
                else:
                    future.set_exception(_FAULTS.get(kind, RuntimeError)(*arguments))
        elif number:
            self._called(number, kind, arguments)
        elif kind == _CANCEL:
            serving = self._serving.pop(arguments[0], None)
            if serving is not None:
                serving.cancel()
        else:
            found = self._serve(kind, arguments, None)
            if found is not None:
                task = self._loop.create_task(self._unasked(found))
                self._notices.add(task)
                task.add_done_callback(self._notices.discard)

    def _called(self, number: int, kind: str, arguments: Any) -> None:
        answer = Answer(self, number)
        try:
            found = self._serve(kind, arguments, answer)
        except Exception as error:  # noqa: BLE001 the caller is told
            self._send((-number, *_fault(error)))
            return
        if found is answer:
            if not answer.done():
                self._serving[number] = answer
            return
        if asyncio.iscoroutine(found):
            found = self._loop.create_task(found)
        if asyncio.isfuture(found):
            self._serving[number] = found
            found.add_done_callback(partial(self._done, number))
        else:
            self._send((-number, None, found))

    def answer(self, number: int, fault: str | None, result: Any) -> None:
        """Send the answer to a call."""
        self._serving.pop(number, None)
        self._send((-number, fault, result))

    def _done(self, number: int, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            self._serving.pop(number, None)
            return
        error = future.exception()
        if error is None:
            self.answer(number, None, future.result())
        else:
            self.answer(number, *_fault(error))

    async def _unasked(self, work: Any) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 nobody waits for it
            log.error("notice_failed", error=type(error).__name__)


async def connect(end: socket.socket, serve: Serve, lost: Callable[[], None], loads: Callable[[bytes], Any]) -> Link:
    end.setblocking(False)
    loop = asyncio.get_running_loop()
    _, link = await loop.create_unix_connection(lambda: Link(serve, lost, loads), sock=end)
    return link


def from_the_hub(data: bytes) -> Any:
    """A worker trusts the hub, whose child it could as well be."""
    return pickle.loads(data)  # noqa: S301


def from_a_worker(data: bytes) -> Any:
    """Raises UnpicklingError for anything but plain values, and functions and values of the package that is shared."""
    return _Unpickler(io.BytesIO(data)).load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        found = super().find_class(module_name, global_name) if module_name.startswith(_SHARED) else None
        if not getattr(found, "__module__", "").startswith(_SHARED):  # nor what such a module imports
            raise pickle.UnpicklingError(f"{module_name}.{global_name} is not for workers")
        return found


def _fault(error: BaseException) -> tuple[str, tuple]:
    if isinstance(error, EngineUnavailable):
        return "engine", (str(error), error.retry_after)
    if isinstance(error, LedgerUnavailable):
        return "ledger", (str(error),)
    log.error("call_failed", error=type(error).__name__)
    return "other", (f"{type(error).__name__}: {error}"[:500],)
