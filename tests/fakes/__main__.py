"""`python -m tests.fakes`: a fake provider as a separate process, for benchmarks and manual tests."""

import argparse
import asyncio
import contextlib
import signal

from .behaviour import Fault
from .server import DEFAULT_CHUNKS, KEPT_REQUESTS, FakeProvider


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fakes",
        description=__doc__,
        epilog=f"Faults: {', '.join(fault for fault in Fault if fault is not Fault.NONE)}. Other parts of a "
        "behaviour: a status, crlf, gzip, no_done, scripted, after=N, chunks=N, delay=S, pace=S, trickle=S, "
        "retry_after=S, usage_in=asked|never|always|finish|every, text=…, message=…; joined by commas.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--chunks", type=int, default=DEFAULT_CHUNKS, help="content events of a stream")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds between them")
    parser.add_argument("--record", type=int, default=KEPT_REQUESTS, help="how many requests to keep; 0 for benches")
    parser.add_argument(
        "--behave", action="append", default=[], metavar="[MODEL:]BEHAVIOUR", help="for all requests or one model"
    )
    options = parser.parse_args()
    fake = FakeProvider(
        host=options.host, port=options.port, chunks=options.chunks, pace=options.pace, record=options.record
    )
    for order in options.behave:
        model, _, behaviour = order.rpartition(":")
        try:
            fake.always(behaviour, model=model or None)
        except ValueError as error:
            parser.error(str(error))
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError), asyncio.Runner(loop_factory=_loop()) as runner:
        runner.run(_serve(fake))


def _loop():
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(fake: FakeProvider) -> None:
    task = asyncio.create_task(
        fake.serve(lambda: print(f"Fake provider on {fake.url} (api_base {fake.openai_base})", flush=True))
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task


if __name__ == "__main__":
    main()
