"""The `litellm-router` commands. Exit codes: 0 success, 1 a reported problem, 2 wrong usage."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from .. import VERSION
from . import admin_arguments

DEFAULT_CONFIG = "litellm_config.yaml"


class Development(Protocol):
    """The `dev` command, which only a checkout has."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


def main(arguments: Sequence[str] | None = None, development: Development | None = None) -> int:
    parser = _parser(development)
    given = parser.parse_args(arguments)
    try:
        return given.run(given)
    except KeyboardInterrupt:
        return 130


def _parser(development: Development | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="litellm-router",
        description="One OpenAI-compatible endpoint in front of every LLM provider.",
        epilog="Every command has its own --help.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve",
        help="run the proxy and, if the config needs it, the engine",
        description="Run the proxy and, if the config needs it, the engine. SIGTERM lets running requests finish.",
    )
    _add_config(serve)
    serve.add_argument("--host", help="address to listen on (LITELLM_HOST, else 127.0.0.1; `::` for all)")
    serve.add_argument("--port", type=int, help="port to listen on (LITELLM_PORT, PORT, else 4000)")
    serve.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="processes that serve the port, or `auto`: one a core (NUM_WORKERS, else 1)",
    )
    serve.set_defaults(run=_serve)

    check = commands.add_parser(
        "check",
        help="check a config: report problems, where they are, and how to fix them",
        description="Check the config and the environment. The exit code is 1 if the proxy would not start.",
    )
    _add_config(check)
    check.set_defaults(run=_check)

    catalog = commands.add_parser(
        "catalog",
        help="write worker/catalog.py, the parts of the config that the edge needs",
        description="Write worker/catalog.py from the config. wrangler runs this before it bundles the Worker.",
    )
    _add_config(catalog)
    catalog.add_argument("--check", action="store_true", help="write nothing; exit with 1 if it is out of date")
    catalog.set_defaults(run=_catalog)

    admin_arguments.add(commands)

    dev = commands.add_parser(
        "dev",
        help="run the Worker on 127.0.0.1:8787 and the proxy behind it",
        description="Run the Worker and the proxy behind it on this machine, without Docker or network access.",
    )
    _add_config(dev)
    if development is None:
        dev.set_defaults(run=lambda _given: _no_checkout("dev"))
    else:
        development.add_arguments(dev)
        dev.set_defaults(run=development.run)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    default = os.environ.get("LITELLM_CONFIG") or DEFAULT_CONFIG
    parser.add_argument("--config", default=default, help="the config file (LITELLM_CONFIG, else %(default)s)")


def _workers(text: str) -> str:
    from ..server.settings import workers

    try:
        return workers(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _environment(given: argparse.Namespace) -> Mapping[str, str]:
    """Return the environment, overridden by command-line options."""
    environment = {name: value for name, value in os.environ.items() if value}
    if getattr(given, "host", None):
        environment["LITELLM_HOST"] = given.host
    if getattr(given, "port", None) is not None:
        environment["LITELLM_PORT"] = str(given.port)
    if getattr(given, "workers", None) is not None:
        environment["NUM_WORKERS"] = given.workers
    return environment


def _serve(given: argparse.Namespace) -> int:
    from ..config.document import CannotServe, ConfigError
    from ..server import settings
    from .serve import WrongUsage, run

    environment = _environment(given)
    try:
        return run(Path(given.config), environment)
    except WrongUsage as error:
        _say(f"litellm-router: {error}")
        return 2
    except ConfigError as error:
        _say(str(error))
        return 1
    except settings.SettingsError as error:
        for problem in error.problems:
            _say(f"litellm-router: {problem}")
        return 1
    except CannotServe as error:
        _say(f"litellm-router: {error}")
        return 1


def _check(given: argparse.Namespace) -> int:
    from .check import check

    return check(Path(given.config), _environment(given))


def _catalog(given: argparse.Namespace) -> int:
    from ..config.document import ConfigError
    from ..config.load import load
    from ..proxy import catalog

    if not catalog.IN_CHECKOUT:
        return _no_checkout("catalog")
    try:
        if given.check:
            target = catalog.DEFAULT_PATH
            text = target.read_text(encoding="utf-8") if target.exists() else ""
            if text == catalog.source(load(Path(given.config), {})):
                return 0
            _say(f"{target.name} is out of date. Run: litellm-router catalog")
            return 1
        changed = catalog.write(Path(given.config))
    except ConfigError as error:
        _say(str(error))
        return 1
    print(f"worker/catalog.py {'written' if changed else 'is up to date'}")
    return 0


def _no_checkout(command: str) -> int:
    _say(f"litellm-router: `{command}` works only in a checkout of the repository.")
    return 1
