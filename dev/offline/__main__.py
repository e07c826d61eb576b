"""Runs a Worker directory by hand: python -m dev.offline PATH/wrangler.jsonc [--port 8787] [--var NAME=VALUE …]"""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from . import build, snapshot, tools, workerd, wrangler


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.offline", description=__doc__)
    parser.add_argument("wrangler", type=Path, help="the wrangler.jsonc, or the directory it lies in")
    parser.add_argument("--port", type=int, default=8787)
    parser.add_argument("--var", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--state", type=Path, help="where Durable Objects are kept (default: thrown away)")
    parser.add_argument("--engine", type=Path, help="the unix socket of a Docker Engine API for ctx.container")
    parser.add_argument("--no-snapshot", action="store_true")
    args = parser.parse_args()
    path = args.wrangler / "wrangler.jsonc" if args.wrangler.is_dir() else args.wrangler
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends workerd on the way out, as Ctrl-C does
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="offline-") as scratch:
        try:
            config = wrangler.read(path)
            engine = build.Engine(args.engine.resolve(), "sidecar:dev") if args.engine else None
            built = build.build(
                config,
                Path(scratch) / "build",
                storage=args.state or Path(scratch) / "state",
                vars=dict(pair.split("=", 1) for pair in args.var),
                engine=engine,
                snapshot=None if args.no_snapshot else snapshot.find_or_make(config.main),
            )
            server = workerd.Workerd(built, port=args.port)
            server.start()
        except (wrangler.WranglerConfigError, tools.MissingTool, OSError) as error:
            print(error, file=sys.stderr)
            return 1
        try:
            server.wait_until_ready()
            print(f"{server.url} answers after {time.monotonic() - started:.1f} s", flush=True)
            return server.wait()
        except workerd.WorkerdFailed as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
