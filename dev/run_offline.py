"""Runs any Worker by hand: python -m dev.run_offline DIRECTORY [--port 8787] [--var NAME=VALUE …]"""

import argparse
import contextlib
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dev.edge import OfflineEdge
from dev.offline import tools, workerd, wrangler
from dev.process_engine.containers import Image
from dev.progress import say


def main() -> int:
    given = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends everything on the way out, as Ctrl-C does
    path = given.directory / "wrangler.jsonc" if given.directory.is_dir() else given.directory
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        state = given.state or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="offline-")))
        try:
            _build(path)
            images = {
                name: Image(tuple(shlex.split(command)), given.container_port) for name, command in given.container
            }
            edge = OfflineEdge(state, dict(given.var), images or None, port=given.port, wrangler_path=path, log=say)
            stack.callback(edge.stop)
            status = edge.start("/")
            print(f"{edge.url} answers (GET / is {status}) after {time.monotonic() - started:.1f} s", flush=True)
            assert edge.workerd is not None
            return edge.workerd.wait()
        except (wrangler.WranglerConfigError, tools.MissingTool, workerd.WorkerdFailed, OSError) as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 0


def _build(path: Path) -> None:
    """Runs the Worker's own build command, as wrangler does. Raises WranglerConfigError."""
    command = wrangler.read(path).build
    if command and subprocess.run(command, shell=True, cwd=path.parent, check=False).returncode:  # noqa: S602 the Worker's
        raise wrangler.WranglerConfigError(f"{path}: the build command failed, see above: {command}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dev.run_offline", description="Runs a Python Worker offline.")
    parser.add_argument("directory", type=Path, help="where the wrangler.jsonc lies, or the file itself")
    parser.add_argument("--port", type=int, default=8787)
    parser.add_argument("--var", action="append", default=[], type=_pair, metavar="NAME=VALUE", help="a variable")
    parser.add_argument("--state", type=Path, help="where Durable Objects are kept (default: thrown away)")
    parser.add_argument(
        "--container",
        action="append",
        default=[],
        type=_pair,
        metavar="CLASS=COMMAND",
        help="what the container of a Durable Object runs; {port} stands for the port. Without any there is no engine",
    )
    parser.add_argument("--container-port", type=int, default=4000, help="the port that the Worker asks it on")
    return parser.parse_args()


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} has no '='")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
