"""Implements `litellm-router keys`, `spend` and `status`, and formats their output."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from worker.core.ledger.key_fields import FIELDS
from worker.core.values.fields import USD

from .admin_client import AdminClient, AdminError, UsageError


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Format a table. Numbers are right-aligned, None is `-`."""
    cells = [[cell(value) for value in row] for row in rows]
    right = [all(isinstance(row[i], int | float | None) for row in rows) and bool(rows) for i in range(len(heads))]
    widths = [max(len(head), *(len(row[i]) for row in cells), 0) for i, head in enumerate(heads)]
    lines = [list(heads), *cells]
    return "\n".join(
        "  ".join(
            text.rjust(width) if at_right else text.ljust(width)
            for text, width, at_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def pairs(fields: Sequence[tuple[str, Any]]) -> str:
    """Format names and values, one pair per line."""
    width = max(len(name) for name, _ in fields)
    return "\n".join(f"{name.ljust(width)}  {cell(value)}" for name, value in fields)


def usd(amount: float | None) -> str | None:
    """Format US dollars, down to nano-dollars if needed."""
    if amount is None:
        return None
    text = f"{amount:.9f}".rstrip("0")
    whole, _, part = text.partition(".")
    return f"${whole}.{part.ljust(2, '0')}"


def cell(value: Any) -> str:
    """Format a value without characters that a terminal would interpret."""
    if value is None or value in ("", []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return "".join(c if c.isprintable() else "?" for c in text)


_MONEY = (
    "spend", "reserved", "total_spend", *(name for name, (_, field) in FIELDS.items() if field.kind is USD),
)  # fmt: skip


def word(text: str) -> str:
    """Reject an empty option. It usually comes from an unset shell variable and could lift a limit."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; leave the option out instead")
    return text


def _named(client: AdminClient, name: str) -> str:
    """Resolve a key's name. `-` reads it from standard input, because other users can see command lines."""
    text = sys.stdin.readline().strip() if name == "-" else name
    if not text:
        raise AdminError("the name of the key is empty")
    return client.token(text)


def _fields(given: argparse.Namespace) -> dict[str, Any]:
    values = {name: getattr(given, name) for name, (_, field) in FIELDS.items() if field.option}
    return {name: value for name, value in values.items() if value is not None}


def list_keys(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    keys = list(client.keys())
    if not keys:
        return keys, "There are no keys. Create one with: litellm-router keys create --alias NAME"
    heads = ("ALIAS", "KEY", "SPEND", "RESERVED", "BUDGET", "PERIOD", "RPM", "TPM", "EXPIRES", "BLOCKED", "TOKEN")
    rows = [
        (
            k["key_alias"], k["key_name"], usd(k["spend"]), usd(k["reserved"]), usd(k["max_budget"]),
            k["budget_duration"], k["rpm_limit"], k["tpm_limit"], _time(k["expires"]), k["blocked"], k["token"],
        )
        for k in keys
    ]  # fmt: skip
    return keys, table(heads, rows)


def create(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    made = client.post("/key/generate", _fields(given))
    return made, _secret(made)


def rotate(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    fields = {} if given.grace is None else {"grace_period": given.grace}
    made = client.regenerate(_named(client, given.key), fields)
    return made, _secret(made)


def _secret(made: dict[str, Any]) -> str:
    """Print only the secret to standard output, for scripts."""
    print(f"The secret is shown this once. The key's token is {made['token']}", file=sys.stderr)
    return made["key"]


def show(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    found = client.get("/key/info", {"key": _named(client, given.key)})["info"]
    return found, about(found)


def update(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    fields = _fields(given)
    for name in given.unset:
        if name in fields:
            raise UsageError(f"{name} is both given and --unset")
    fields |= dict.fromkeys(given.unset)
    if not fields:
        raise UsageError("say what shall change")
    changed = client.post("/key/update", {**fields, "key": _named(client, given.key)})
    return changed, about(changed)


def block(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    found = client.post("/key/block", {"key": _named(client, given.key)})
    return found, f"{found['key_alias'] or found['key_name']} is blocked."


def unblock(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    found = client.post("/key/unblock", {"key": _named(client, given.key)})
    return found, f"{found['key_alias'] or found['key_name']} may be used again."


def delete(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    found = client.post("/key/delete", {"keys": [_named(client, name) for name in given.keys]})
    count = len(found["deleted_keys"])
    return found, f"{count} {'key' if count == 1 else 'keys'} deleted."


def about(row: dict[str, Any]) -> str:
    """Format all fields of a key, or of something else that may have a budget and models."""
    shown = {**row, **{name: usd(row[name]) for name in _MONEY if name in row}}
    if "models" in row:
        shown["models"] = row["models"] or "all"
    texts = {
        name: json.dumps(value)
        for name, value in shown.items()
        if isinstance(value, dict) or (isinstance(value, list) and not all(isinstance(one, str) for one in value))
    }
    return pairs(list({**shown, **texts}.items()))


def total(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
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


def spend_by_key(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
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


def logs(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    key = given.key if given.key in (None, "master") else _named(client, given.key)
    query = {
        "key": key, "model": given.model, "from": given.begin, "to": given.end, "request_id": given.request_id,
    }  # fmt: skip
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


def status(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
    health = client.get("/health", accept=(503,))
    if not isinstance(health, dict) or "status" not in health:
        raise AdminError(f"the server at {client.url} is not this gateway")
    spend = client.get("/global/spend")
    shown = pairs([("proxy", f"{client.url} is {health['status']}"), ("models", health.get("models"))])
    return {"health": health, "spend": spend}, f"{shown}\n{_spent(spend)}"


def _time(iso: str | None) -> str | None:
    return None if iso is None else iso[:19].replace("T", " ")
