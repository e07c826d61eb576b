"""`litellm-router dev`: the Worker on a local port and the proxy behind it.

Every command imports this module for its arguments, so all other imports happen at run time.
"""

import argparse
import sys

RUNTIMES = ("auto", "offline", "wrangler")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All arguments except `--config`, which every command has."""
    parser.add_argument("--port", type=_port, default=8787, help="port to listen on (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default="auto",
        help="wrangler: `wrangler dev` with Docker; offline: the same Worker with neither Docker nor network; "
        "auto takes wrangler where a Docker engine answers and Cloudflare can be reached (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serves until it is stopped; returns the exit code."""
    from .runtime_choice import CannotRun
    from .session import Session

    try:
        return Session.prepare(arguments.config, arguments.host, arguments.port).run(arguments.runtime)
    except CannotRun as error:
        print(f"litellm-router dev: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (1 to 65535)")
    return int(text)
