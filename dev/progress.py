"""Progress messages for slow steps."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

_PATIENCE_SECONDS = 2.0
_REPEAT_SECONDS = 10.0


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Prints `what` after two seconds and then every ten, and the duration at the end if it printed anything."""
    started = time.monotonic()
    done = threading.Event()
    said = threading.Event()

    def watch() -> None:
        wait = _PATIENCE_SECONDS
        while not done.wait(wait):
            say(f"{what} … {time.monotonic() - started:.0f} s")
            said.set()
            wait = _REPEAT_SECONDS

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    if said.is_set():
        say(f"{what}: done in {time.monotonic() - started:.0f} s")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
