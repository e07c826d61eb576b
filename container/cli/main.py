"""The `litellm-router` commands and their arguments. Exit codes: 0 success, 1 a reported problem, 2 wrong usage."""

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from worker.core.ledger.keys import FIELDS
from worker.core.shared_settings import flag
from worker.core.values.fields import Field

from .. import VERSION
from . import admin
from .admin import DEFAULT_URL, AdminClient, AdminError, UsageError, from_environment, word

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

    _add_admin_commands(commands)

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
    from .serve import check

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


# `keys`, `teams` and its like, `spend` and `status`, which call the admin API.

Work = Callable[[AdminClient, argparse.Namespace], tuple[Any, str]]
_EPILOG = (
    "The master key is read from LITELLM_MASTER_KEY. A KEY is an alias, a token, or the secret itself; "
    "`-` reads it from standard input."
)


def _add_admin_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    keys = commands.add_parser("keys", help="create, show, update, block and delete keys", epilog=_EPILOG)
    _add_common(keys)
    keys.set_defaults(run=_runner(keys, admin.list_keys))
    actions = keys.add_subparsers(title="actions", metavar="ACTION")
    _command(actions, "list", "list all keys, newest first (the default action)", admin.list_keys)
    _with_fields(
        _command(actions, "create", "create a key and show its secret, which is shown only once", admin.create)
    )
    _with_key(_command(actions, "show", "show all details of a key", admin.show))
    settable = [name for name, (_, field) in FIELDS.items() if field.option]
    update = _with_fields(
        _with_key(_command(actions, "update", "change the given fields and keep the rest", admin.update))
    )
    update.add_argument(
        "--unset", action="append", default=[], metavar="FIELD", choices=settable,
        help="remove a limit or another field: " + ", ".join(settable),
    )  # fmt: skip
    _with_key(_command(actions, "block", "block a key, effective from the next request", admin.block))
    _with_key(_command(actions, "unblock", "unblock a key", admin.unblock))
    rotate = _with_key(_command(actions, "rotate", "give a key a new secret", admin.rotate))
    rotate.add_argument(
        "--grace",
        type=word,
        metavar="TIME",
        help="how long the old secret stays valid, such as 24h (default: not at all)",
    )
    _with_key(_command(actions, "delete", "delete keys; their spend remains in the totals", admin.delete), many=True)

    for noun in admin.NOUNS:
        _add_owners(commands, noun)

    spend = commands.add_parser("spend", help="show spend: in total, by key, or by request", epilog=_EPILOG)
    _add_common(spend)
    spend.set_defaults(run=_runner(spend, admin.total))
    actions = spend.add_subparsers(title="actions", metavar="ACTION")
    _command(actions, "total", "total spend and the global budget (the default action)", admin.total)
    _command(actions, "keys", "spend by key, highest first", admin.spend_by_key)
    logs = _command(actions, "logs", "list requests, newest first", admin.logs)
    logs.add_argument("--key", type=word, help="only requests with this key (`master`: the master key)")
    logs.add_argument("--model", type=word, help="only requests for this model")
    logs.add_argument(
        "--request-id", type=word, metavar="ID", help="only the request with this `x-request-id` response header"
    )
    logs.add_argument(
        "--from", dest="begin", type=word, metavar="TIME", help="start date or time (UTC), such as 2026-01-31"
    )
    logs.add_argument("--to", dest="end", type=word, metavar="TIME", help="end date (inclusive) or time (exclusive)")
    logs.add_argument(
        "--limit", type=_count, default=100, metavar="N", help="maximum number of requests (default: %(default)s)"
    )

    _command(
        commands, "status", "show whether the proxy is up, its models and the spend", admin.status
    ).epilog = _EPILOG


def _add_owners(commands: Any, noun: admin.Noun) -> None:
    help = f"create, show, update and delete {noun.words}"
    parser = commands.add_parser(noun.words, help=help, epilog=_EPILOG)
    _add_common(parser)
    parser.set_defaults(run=_runner(parser, admin.list_owners(noun)))
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    listed = _command(
        actions, "list", f"list the {noun.words}, newest first (the default action)", admin.list_owners(noun)
    )
    listed.add_argument("--search", type=word, metavar="TEXT", help="only those whose id or name contains it")

    def action(name: str, help: str, work: Work) -> argparse.ArgumentParser:
        command = _command(actions, name, help, work)
        command.add_argument("id", type=word, metavar="ID", help=f"the {noun.word}'s {noun.id}")
        return command

    _with_options(action("create", f"create a {noun.word}", admin.create_owner(noun)), noun.options)
    action("info", f"show all details of a {noun.word}", admin.owner_info(noun))
    update = action("update", "change the given fields and keep the rest", admin.update_owner(noun))
    _with_options(update, noun.options)
    update.add_argument(
        "--unset", action="append", default=[], metavar="FIELD", choices=[*noun.options],
        help="remove a limit or another field: " + ", ".join(noun.options),
    )  # fmt: skip
    if noun.words in ("teams", "customers"):
        action("block", f"refuse the requests of a {noun.word}", admin.block_owner(noun, "block"))
        action("unblock", f"allow them again to a {noun.word}", admin.block_owner(noun, "unblock"))
    if noun.words == "teams":
        for name, work in (("add-member", "add"), ("remove-member", "delete")):
            member = action(name, f"{name.partition('-')[0]} a member", admin.change_member(work))
            member.add_argument("user", type=word, metavar="USER", help="the user's id")
            if work == "add":
                member.add_argument("--role", choices=("user", "admin"), default="user", help="default: %(default)s")
    keys_too = ", and its keys" if noun.words in ("teams", "users") else ""
    action("delete", f"delete a {noun.word}{keys_too}; what was spent remains in the totals", admin.delete_owner(noun))


def _command(commands: Any, name: str, help: str, work: Work) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", epilog=_EPILOG)
    # Defaults here would override options given before the action.
    _add_common(parser, url=argparse.SUPPRESS, json=argparse.SUPPRESS)
    parser.set_defaults(run=_runner(parser, work))
    return parser


def _add_common(parser: argparse.ArgumentParser, *, url: str | None = None, json: bool | str = False) -> None:
    parser.add_argument("--url", default=url, help=f"URL of the proxy (LITELLM_ROUTER_URL, else {DEFAULT_URL})")
    parser.add_argument("--json", action="store_true", default=json, help="print the response as JSON")


def _with_key(parser: argparse.ArgumentParser, *, many: bool = False) -> argparse.ArgumentParser:
    if many:
        parser.add_argument("keys", nargs="+", metavar="KEY")
    else:
        parser.add_argument("key", metavar="KEY")
    return parser


def _with_fields(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    return _with_options(parser, {name: field for name, (_, field) in FIELDS.items() if field.option})


def _with_options(parser: argparse.ArgumentParser, fields: Mapping[str, Field]) -> argparse.ArgumentParser:
    for name, field in fields.items():
        option, _, value = field.option.partition(" ")
        convert = _CONVERT[field.kind.argument]
        parser.add_argument(option, dest=name, type=convert, metavar=value, help=field.meaning)
    return parser


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("a JSON object is wanted")
    return value


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("the list is empty; leave the option out, or use `update` with --unset FIELD")
    return names


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; for no limit, leave the option out")
    return value


def _flag(text: str) -> bool:
    try:
        return flag(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


# Converts an option's text to the field's value, by `fields.Kind.argument`.
_CONVERT: dict[str, Callable[[str], Any]] = {
    "text": word,
    "list": _names,
    "number": _number,
    "integer": int,
    "json": _object,
    "flag": _flag,
}


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1_000_000:
        raise argparse.ArgumentTypeError("must be a number from 1 to 1000000")
    return value


def _runner(parser: argparse.ArgumentParser, work: Work) -> Callable[[argparse.Namespace], int]:
    def run(given: argparse.Namespace) -> int:
        try:
            found, text = work(from_environment(getattr(given, "url", None)), given)
        except UsageError as error:
            parser.error(str(error))
        except AdminError as error:
            print(f"litellm-router: {error}", file=sys.stderr)
            return 1
        print(json.dumps(found, indent=2) if getattr(given, "json", False) else text)
        return 0

    return run
