"""`litellm-router keys`, `spend`, `status`: the admin API from the shell."""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from .admin_client import DEFAULT_URL, AdminClient, AdminError, from_environment
from .tables import pairs, table, usd

Work = Callable[[AdminClient, argparse.Namespace], tuple[Any, str]]
_EPILOG = (
    "The master key is read from LITELLM_MASTER_KEY. A KEY is an alias, a token, or the secret itself; "
    "`-` reads it from standard input."
)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("a JSON object is wanted")
    return value


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


_FIELDS = (
    ("--alias", "key_alias", str, "NAME", "what people know the key by"),
    ("--user", "user_id", str, "ID", "whose key it is: a user's budget holds for all of the user's keys"),
    (
        "--models",
        "models",
        _names,
        "A,B",
        "models it may use, `*` for anything",
    ),
    ("--max-budget", "max_budget", float, "USD", "what it may spend in a period"),
    ("--soft-budget", "soft_budget", float, "USD", "what it may spend before somebody is told"),
    ("--budget-duration", "budget_duration", str, "TIME", "the period, such as 1h, 1d, 7d or 30d"),
    ("--rpm", "rpm_limit", int, "N", "requests a minute"),
    ("--tpm", "tpm_limit", int, "N", "tokens a minute"),
    ("--parallel", "max_parallel_requests", int, "N", "requests at the same time"),
    ("--duration", "duration", str, "TIME", "how long it is valid from now, such as 30d"),
    ("--metadata", "metadata", _object, "JSON", "anything, as a JSON object"),
)


def add(commands: Any) -> None:
    """Adds the three commands to the parser's."""
    keys = commands.add_parser("keys", help="make, show, change, block and delete keys", epilog=_EPILOG)
    _add_common(keys)
    keys.set_defaults(run=_runner(_list))
    actions = keys.add_subparsers(title="actions", metavar="ACTION")
    _command(actions, "list", "all keys, the newest first (what `keys` alone does)", _list)
    _with_fields(_command(actions, "create", "make a key; the only time its secret is shown", _create))
    _with_key(_command(actions, "show", "everything about a key", _show))
    update = _with_fields(_with_key(_command(actions, "update", "change what is given, leave the rest", _update)))
    update.add_argument(
        "--unset", action="append", default=[], metavar="FIELD", choices=[name for _, name, *_ in _FIELDS],
        help="take a limit or another field away: " + ", ".join(name for _, name, *_ in _FIELDS),
    )  # fmt: skip
    _with_key(_command(actions, "block", "refuse the key from the next request on", _block))
    _with_key(_command(actions, "unblock", "take a blocked key again", _unblock))
    rotate = _with_key(_command(actions, "rotate", "give a key a new secret", _rotate))
    rotate.add_argument(
        "--grace", metavar="TIME", help="how long the old secret works on, such as 24h; else not at all"
    )
    _with_key(_command(actions, "delete", "delete keys; what they have spent stays in the totals", _delete), many=True)

    spend = commands.add_parser(
        "spend", help="say what was spent: altogether, by key, request by request", epilog=_EPILOG
    )
    _add_common(spend)
    spend.set_defaults(run=_runner(_total))
    actions = spend.add_subparsers(title="actions", metavar="ACTION")
    _command(actions, "total", "what was spent altogether, and the global budget (what `spend` alone does)", _total)
    _command(actions, "keys", "what each key has spent, the dearest first", _spend_keys)
    logs = _command(actions, "logs", "the requests, the newest first", _logs)
    logs.add_argument("--key", help="of this key; `master` for the master key's")
    logs.add_argument("--model", help="of this model")
    logs.add_argument("--from", dest="begin", metavar="TIME", help="from this day or time (UTC), such as 2026-01-31")
    logs.add_argument("--to", dest="end", metavar="TIME", help="until the end of this day, or before this time")
    logs.add_argument("--limit", type=_count, default=100, metavar="N", help="at most so many (%(default)s)")

    _command(commands, "status", "say whether the proxy is up, its models and what was spent", _status).epilog = _EPILOG


def _command(commands: Any, name: str, help: str, work: Work) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", epilog=_EPILOG)
    # Left out they must not undo what stands before the action.
    _add_common(parser, url=argparse.SUPPRESS, json=argparse.SUPPRESS)
    parser.set_defaults(run=_runner(work))
    return parser


def _add_common(parser: argparse.ArgumentParser, *, url: str | None = None, json: bool | str = False) -> None:
    parser.add_argument("--url", default=url, help=f"where the proxy is (LITELLM_ROUTER_URL, else {DEFAULT_URL})")
    parser.add_argument("--json", action="store_true", default=json, help="print the answer as JSON")


def _with_key(parser: argparse.ArgumentParser, *, many: bool = False) -> argparse.ArgumentParser:
    if many:
        parser.add_argument("keys", nargs="+", metavar="KEY")
    else:
        parser.add_argument("key", metavar="KEY")
    return parser


def _with_fields(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    for flag, name, kind, metavar, help in _FIELDS:
        parser.add_argument(flag, dest=name, type=kind, metavar=metavar, help=help)
    return parser


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1_000_000:
        raise argparse.ArgumentTypeError("a number from 1 to 1000000")
    return value


def _runner(work: Work) -> Callable[[argparse.Namespace], int]:
    def run(given: argparse.Namespace) -> int:
        try:
            found, text = work(from_environment(getattr(given, "url", None)), given)
        except AdminError as error:
            print(f"litellm-router: {error}", file=sys.stderr)
            return 1
        print(json.dumps(found, indent=2) if getattr(given, "json", False) else text)
        return 0

    return run


def _named(client: AdminClient, name: str) -> str:
    """`-`: from standard input, as what stands on a command line can be seen by others."""
    text = sys.stdin.readline().strip() if name == "-" else name
    if not text:
        raise AdminError("the name of the key is empty")
    return client.token(text)


def _fields(given: argparse.Namespace) -> dict[str, Any]:
    values = {name: getattr(given, name) for _, name, *_ in _FIELDS}
    return {name: value for name, value in values.items() if value is not None}


def _list(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    keys = list(client.keys())
    if not keys:
        return keys, "There are no keys. Make one with: litellm-router keys create --alias NAME"
    heads = ("ALIAS", "KEY", "SPEND", "BUDGET", "PERIOD", "RPM", "TPM", "EXPIRES", "BLOCKED", "TOKEN")
    rows = [
        (
            k["key_alias"], k["key_name"], usd(k["spend"]), usd(k["max_budget"]), k["budget_duration"], k["rpm_limit"],
            k["tpm_limit"], _time(k["expires"]), k["blocked"], k["token"],
        )
        for k in keys
    ]  # fmt: skip
    return keys, table(heads, rows)


def _create(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    made = client.post("/key/generate", _fields(given))
    return made, _secret(made)


def _rotate(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    fields = {} if given.grace is None else {"grace_period": given.grace}
    made = client.regenerate(_named(client, given.key), fields)
    return made, _secret(made)


def _secret(made: dict[str, Any]) -> str:
    """The secret alone is the output, so that a script can take it."""
    print(f"The secret is shown this once. The key's token is {made['token']}", file=sys.stderr)
    return made["key"]


def _show(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    found = client.get("/key/info", {"key": _named(client, given.key)})["info"]
    return found, _about(found)


def _update(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    fields = {**_fields(given), **dict.fromkeys(given.unset)}
    if not fields:
        raise AdminError("say what shall change; see `litellm-router keys update --help`")
    changed = client.post("/key/update", {**fields, "key": _named(client, given.key)})
    return changed, _about(changed)


def _block(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    found = client.post("/key/block", {"key": _named(client, given.key)})
    return found, f"{found['key_alias'] or found['key_name']} is blocked."


def _unblock(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    found = client.post("/key/unblock", {"key": _named(client, given.key)})
    return found, f"{found['key_alias'] or found['key_name']} may be used again."


def _delete(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    found = client.post("/key/delete", {"keys": [_named(client, name) for name in given.keys]})
    count = len(found["deleted_keys"])
    return found, f"{count} {'key' if count == 1 else 'keys'} deleted."


def _about(key: dict[str, Any]) -> str:
    money = ("spend", "reserved", "total_spend", "max_budget", "soft_budget")
    shown = {**key, **{name: usd(key[name]) for name in money}, "metadata": json.dumps(key["metadata"])}
    shown["models"] = key["models"] or "all"
    return pairs(list(shown.items()))


def _total(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    found = client.get("/global/spend")
    return found, _spent(found)


def _spent(found: dict[str, Any]) -> str:
    return pairs(
        [
            ("spent", usd(found["spend"])),
            ("reserved", usd(found["reserved"])),
            ("budget", usd(found["max_budget"])),
            ("period", found["budget_duration"]),
            ("resets", _time(found["budget_reset_at"])),
            ("spent ever", usd(found["total_spend"])),
            ("running", found["running_requests"]),
        ]
    )


def _spend_keys(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    found: list[dict[str, Any]] = []
    page = 1
    while True:
        part = client.get("/spend/keys", {"page": page, "size": 1000})
        found += part["data"]
        if not part["data"] or len(found) >= part["total_count"]:
            break
        page += 1
    rows = [
        (
            k["key_alias"] or k["key_id"], k["key_name"] or "(deleted)", k["user_id"], usd(k["spend"]),
            usd(k["reserved"]), usd(k["total_spend"]),
        )
        for k in found
    ]  # fmt: skip
    return found, table(("ALIAS", "KEY", "USER", "SPEND", "RESERVED", "EVER"), rows)


def _logs(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    key = given.key if given.key in (None, "master") else _named(client, given.key)
    query = {"key": key, "model": given.model, "from": given.begin, "to": given.end}
    found: list[dict[str, Any]] = []
    after = None
    while len(found) < given.limit:
        size = min(1000, given.limit - len(found))
        part = client.get("/spend/logs", {**query, "after": after, "size": size})
        found += part["data"]
        after = part["next"]
        if after is None:
            break
    heads = ("TIME", "KEY", "MODEL", "DEPLOYMENT", "STATUS", "TOKENS IN", "OUT", "SPEND", "MS")
    rows = [
        (
            _time(r["startTime"]), r["key_alias"] or r["key_id"], r["model"], r["deployment"], r["status"],
            r["prompt_tokens"], r["completion_tokens"], usd(r["spend"]), r["latency_ms"],
        )
        for r in found
    ]  # fmt: skip
    return found, table(heads, rows)


def _status(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    health = client.get("/health", accept=(503,))
    if not isinstance(health, dict) or "status" not in health:
        raise AdminError(f"what answers at {client.url} is not this gateway")
    spend = client.get("/global/spend")
    shown = pairs([("proxy", f"{client.url} is {health['status']}"), ("models", health.get("models"))])
    return {"health": health, "spend": spend}, f"{shown}\n{_spent(spend)}"


def _time(iso: str | None) -> str | None:
    return None if iso is None else iso[:19].replace("T", " ")
