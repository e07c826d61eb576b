"""Arguments of `litellm-router keys`, `teams` and its like, `spend` and `status`, which call the admin API."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

from worker.core.ledger.keys import FIELDS
from worker.core.settings import flag
from worker.core.values.fields import Field

from . import admin
from .admin import DEFAULT_URL, AdminClient, AdminError, UsageError, from_environment, word

Work = Callable[[AdminClient, argparse.Namespace], tuple[Any, str]]
_EPILOG = (
    "The master key is read from LITELLM_MASTER_KEY. A KEY is an alias, a token, or the secret itself; "
    "`-` reads it from standard input."
)


def add(commands: Any) -> None:
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
