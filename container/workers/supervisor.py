"""The first process of `serve --workers N`: forks the hub and the workers, replaces workers, and passes signals on."""

import ctypes
import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

import uvloop

from ..config.document import CannotServe
from ..observability import log
from ..proxy.process import EXIT_CODE, Launch, announce, calm_garbage_collector, say_listening
from ..request.stored_input import secret_of_this_process
from ..routing.shared_health import HealthBoard
from ..server.http import shared_out
from .hub import NUMBER, Hub, keep
from .worker import ENDS, Worker

# Places on the board: so many times the deployments of the config, because a changed config brings new ones.
_SLOTS_PER_DEPLOYMENT = 4
_FEWEST_SLOTS = 1024
# A worker that has lived less than this has failed to start. The next one waits, longer each time.
_SETTLED_SECONDS = 10.0
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_KILLED = 128


def supervise(launch: Launch, workers: int) -> int:
    """Serve with several workers until SIGTERM or SIGINT. Return the exit code."""
    secret_of_this_process()  # the same in all of them
    log.share()
    board = HealthBoard(workers, max(_FEWEST_SLOTS, _SLOTS_PER_DEPLOYMENT * len(launch.config.deployments)))
    calm_garbage_collector()
    return _Supervisor(launch, shared_out(launch.listening, workers), board).run()


class _Supervisor:
    """`listening`: the sockets of each worker."""

    def __init__(self, launch: Launch, listening: list[list[socket.socket]], board: HealthBoard) -> None:
        self._launch = launch
        self._listening = listening
        self._board = board
        self._channel, self._hubs_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._hub = 0
        self._workers: dict[int, tuple[int, float]] = {}  # pid -> (number, when it began)
        self._due: dict[int, float] = {}  # number -> when to replace it
        self._pauses = dict.fromkeys(range(board.workers), 0.0)
        self._ending = False
        self._code = 0

    def run(self) -> int:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._unblocked = before
        self._hub = self._fork("hub", self._keep)
        self._hubs_end.close()
        for number in range(self._board.workers):
            self._start(number)
        while self._hub:
            match signal.sigwait(_SIGNALS):
                case signal.SIGCHLD:
                    self._reap()
                case signal.SIGHUP:
                    os.kill(self._hub, signal.SIGHUP)
                case signal.SIGALRM:
                    self._replace()
                case _:
                    self._end()
        while self._workers:  # killed, because the hub has died
            self._workers.pop(os.wait()[0], None)
        return self._code

    def _start(self, number: int) -> None:
        mine, hubs = socket.socketpair()
        try:
            socket.send_fds(self._channel, [NUMBER.pack(number)], [hubs.fileno()])
        except OSError:
            return  # the hub has ended, which SIGCHLD tells
        finally:
            hubs.close()
        pid = self._fork(f"worker {number}", lambda: self._work(number, mine))
        mine.close()
        self._workers[pid] = number, time.monotonic()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid == self._hub:
                self._hub_ended(code)
            elif pid in self._workers:
                self._worker_ended(pid, code)

    def _hub_ended(self, code: int) -> None:
        self._hub = 0
        self._code = self._code or (_KILLED - code if code < 0 else code)
        if not self._ending:
            self._code = self._code or EXIT_CODE
        if self._workers:
            log.error("hub_died", exit_code=code, effect="everything ends")
            self._signal(signal.SIGKILL)

    def _worker_ended(self, pid: int, code: int) -> None:
        number, began = self._workers.pop(pid)
        if self._ending:
            self._end_hub()
            return
        if code == 1:  # it has said why it cannot serve
            self._code = 1
            self._end()
            return
        lived = time.monotonic() - began
        pause = 0.0 if lived > _SETTLED_SECONDS else min(_LONGEST_PAUSE, self._pauses[number] * 2 or _FIRST_PAUSE)
        self._pauses[number] = pause
        log.error("worker_died", worker=number, exit_code=code, lived_seconds=round(lived, 1), pause_seconds=pause)
        self._due[number] = time.monotonic() + pause
        self._replace()

    def _replace(self) -> None:
        """Start the workers that are due, and set the timer for the next one."""
        if self._ending or not self._hub:
            return
        now = time.monotonic()
        for number in [number for number, when in self._due.items() if when <= now]:
            del self._due[number]
            self._start(number)
        if self._due:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, min(self._due.values()) - now))

    def _end(self) -> None:
        """The workers finish their requests. The second time they end them."""
        self._ending = True
        for each in self._listening:
            for one in each:
                one.close()
        self._signal(ENDS)
        self._end_hub()

    def _end_hub(self) -> None:
        if not self._workers and self._hub:
            os.kill(self._hub, signal.SIGUSR1)

    def _signal(self, number: int) -> None:
        for pid in self._workers:
            os.kill(pid, number)

    def _keep(self) -> None:
        """The hub."""
        self._channel.close()
        addresses = [one.getsockname() for one in self._listening[0]]

        def say_ready() -> None:
            announce(self._launch.config)
            say_listening(addresses, self._launch.config)

        for each in self._listening:
            for one in each:
                one.close()

        def hub() -> Hub:
            return Hub(self._launch, self._board, self._board.workers, say_ready)

        uvloop.run(keep(hub, self._hubs_end, self._launch.settings))

    def _work(self, number: int, end: socket.socket) -> None:
        self._channel.close()
        for each in self._listening:
            if each is not self._listening[number]:
                for one in each:
                    one.close()

        config, settings = self._launch.config, self._launch.settings

        async def work() -> None:
            await Worker(number, config, settings, self._board).serve(end, self._listening[number])

        uvloop.run(work())

    def _fork(self, name: str, work: Callable[[], None]) -> int:
        log.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        code = EXIT_CODE
        try:
            _die_with(parent, name)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._unblocked)
            work()
            code = 0
        except CannotServe as error:
            print(f"litellm-router: {error}", file=sys.stderr)
            code = 1
        except BaseException:  # noqa: BLE001 nothing may return into the supervisor's code
            traceback.print_exc()
        finally:
            _leave(code)


def _die_with(parent: int, name: str) -> None:
    """Have Linux kill this process if the supervisor is killed, and name it for `ps`.

    https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _LIBC.prctl(_PR_SET_NAME, f"router {name}".encode())
        if os.getppid() != parent:
            os._exit(EXIT_CODE)


def _leave(code: int) -> NoReturn:
    gc.disable()
    log.flush()
    sys.stderr.flush()
    os._exit(code)
