"""The commands that call the admin API: `litellm-router keys`, `spend` and `status`, and from the tables of their
fields `teams`, `users`, `customers`, `tags` and `budgets`.
"""

import argparse
import http.client
import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from worker.core.ledger.keys import FIELDS
from worker.core.ledger.owners import BUDGETS, END_USER, OF_KIND, TAG, TEAM, USER
from worker.core.values.fields import USD, Field

DEFAULT_URL = "http://127.0.0.1:4000"
_TIMEOUT = 30.0
_PAGE = 500
_NAMED = re.compile(r"sk-.*|[0-9a-f]{64}", re.DOTALL)


class AdminError(Exception):
    """A request failed. The message says why and what to do about it."""


class UsageError(Exception):
    """Invalid command-line arguments."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Following a redirect would send the master key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


class AdminClient:
    """`url`: without `/v1`. `master_key`: None if the proxy has none. Raises AdminError for an invalid URL or key."""

    def __init__(self, url: str, master_key: str | None) -> None:
        from ..server.auth import is_loopback  # imported here because it loads the server, which would slow down --help

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise AdminError(f"{url!r} is no address of a proxy; use one such as {DEFAULT_URL}")
        if master_key and not (master_key.isascii() and master_key.isprintable()):
            raise AdminError("LITELLM_MASTER_KEY contains a character that is not allowed in a header")
        self.url = url.rstrip("/").removesuffix("/v1")
        self._headers = {"authorization": f"Bearer {master_key}"} if master_key else {}
        proxies = {} if is_loopback(parts.hostname) else None
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), _NoRedirect())

    def get(
        self, path: str, query: Mapping[str, str | int | None] | None = None, *, accept: tuple[int, ...] = ()
    ) -> Any:
        """Return the response's JSON. `accept`: statuses that are not errors. Raises AdminError."""
        wanted = {name: value for name, value in (query or {}).items() if value is not None}
        return self._ask("GET", path + ("?" + urlencode(wanted) if wanted else ""), None, accept)

    def post(self, path: str, fields: Mapping[str, Any]) -> Any:
        return self._ask("POST", path, json.dumps(fields).encode(), ())

    def keys(self, alias: str | None = None) -> Iterator[dict[str, Any]]:
        """Iterate over all keys, newest first. `alias` selects one of them."""
        page = 1
        while True:
            query = {"page": page, "size": _PAGE, "return_full_object": "true", "key_alias": alias}
            found = self.get("/key/list", query)
            yield from found["keys"]
            if page >= found["total_pages"]:
                return
            page += 1

    def token(self, name: str) -> str:
        """Return the key's id for the API: a secret or token is returned unchanged, an alias is looked up."""
        if _NAMED.fullmatch(name):
            return name
        for key in self.keys(alias=name):
            if key["key_alias"] == name:
                return key["token"]
        raise AdminError(f"there is no key with the alias {name!r}; `litellm-router keys list` shows all")

    def regenerate(self, token: str, fields: Mapping[str, Any]) -> Any:
        return self.post(f"/key/{quote(token, safe='')}/regenerate", fields)

    def _ask(self, method: str, path: str, body: bytes | None, accept: tuple[int, ...]) -> Any:
        headers = {**self._headers, "content-type": "application/json"}
        request = urllib.request.Request(self.url + path, data=body, headers=headers, method=method)  # noqa: S310 checked
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as response:
                data = response.read()
        except urllib.error.HTTPError as error:
            with error:
                data = error.read()
            if error.code not in accept:
                raise AdminError(_refusal(error.code, data, bool(self._headers))) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
            raise AdminError(
                f"no answer from {self.url}: {reason}. Is the proxy running? Set its URL with --url or "
                "LITELLM_ROUTER_URL"
            ) from None
        try:
            return json.loads(data)
        except ValueError:
            raise AdminError(f"the server at {self.url} is not this gateway") from None


def from_environment(url: str | None) -> AdminClient:
    """Use `url`, else LITELLM_ROUTER_URL, else localhost, with LITELLM_MASTER_KEY. Raises AdminError."""
    where = url or os.environ.get("LITELLM_ROUTER_URL") or DEFAULT_URL
    return AdminClient(where, os.environ.get("LITELLM_MASTER_KEY") or None)


def _refusal(status: int, data: bytes, had_key: bool) -> str:
    try:
        message = str(json.loads(data)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"got HTTP {status}, not a response of this gateway"
    if status == 401:
        message += " It is read from LITELLM_MASTER_KEY" + ("." if had_key else ", which is not set.")
    return message


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


_OWNERS_PAGE = 500
_COLUMNS = ("spend", "max_budget", "budget_duration", "rpm_limit", "tpm_limit", "blocked")
_OWNER_MONEY = ("spend", "max_budget")
Work = Callable[[AdminClient, argparse.Namespace], tuple[Any, str]]


class Noun(NamedTuple):
    """What a command administers. `id`: the field with its id. `fields`: its table. `path`: of its endpoints.
    `deletes`: the field of `/delete`, and whether it is a list. `alias`: the field with its name for people."""

    words: str
    word: str
    id: str
    fields: Mapping[str, tuple[str, Field]]
    path: str
    deletes: tuple[str, bool]
    alias: str = ""

    @property
    def options(self) -> dict[str, Field]:
        return {name: field for name, (_, field) in self.fields.items() if field.option}


def _noun(kind: str, path: str, deletes: tuple[str, bool], alias: str) -> Noun:
    of = OF_KIND[kind]
    return Noun(of.words, of.word, of.id, of.table.fields, path, deletes, alias)


NOUNS = (
    _noun(TEAM, "/team", ("team_ids", True), "team_alias"),
    _noun(USER, "/user", ("user_ids", True), "user_alias"),
    _noun(END_USER, "/customer", ("user_ids", True), "alias"),
    _noun(TAG, "/tag", ("name", False), "description"),
    Noun("budgets", "budget", "budget_id", BUDGETS.fields, "/budget", ("id", False)),
)


def list_owners(noun: Noun) -> Work:
    def work(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
        found = list(_every(client, noun, given.search if "search" in given else None))
        if not found:
            return found, f"There are no {noun.words}. Create one with: litellm-router {noun.words} create ID"
        heads = (noun.id, *((noun.alias,) if noun.alias else ()), *(name for name in _COLUMNS if name in found[0]))
        rows = [[usd(one[name]) if name in _OWNER_MONEY else one[name] for name in heads] for one in found]
        return found, table([head.upper().replace("_", " ") for head in heads], rows)

    return work


def create_owner(noun: Noun) -> Work:
    def work(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
        fields = {noun.id: given.id, **_given(noun, given)}
        if noun.path == "/user":
            fields["auto_create_key"] = False  # `keys create --user` makes one
        made = _row(client.post(f"{noun.path}/new", fields))
        return made, about(made)

    return work


def update_owner(noun: Noun) -> Work:
    def work(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
        fields = _given(noun, given)
        both = next((name for name in given.unset if name in fields), None)
        if both:
            raise UsageError(f"{both} is both given and --unset")
        fields |= dict.fromkeys(given.unset)
        if not fields:
            raise UsageError("say what shall change")
        if noun.path == "/user":
            _info(client, noun, given.id)  # the endpoint would create it
        changed = _row(client.post(f"{noun.path}/update", {noun.id: given.id, **fields}))
        return changed, about(changed)

    return work


def owner_info(noun: Noun) -> Work:
    def work(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
        found = _info(client, noun, given.id)
        return found, about(found)

    return work


def delete_owner(noun: Noun) -> Work:
    def work(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
        field, many = noun.deletes
        found = client.post(f"{noun.path}/delete", {field: [given.id] if many else given.id})
        count = found.get("deleted_keys", 0)
        with_keys = f", and {count} {'key' if count == 1 else 'keys'}" if count else ""
        return found, f"The {noun.word} {given.id} was deleted{with_keys}."

    return work


def block_owner(noun: Noun, action: str) -> Work:
    def work(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
        fields = {"user_ids": [given.id]} if noun.path == "/customer" else {noun.id: given.id}
        found = client.post(f"{noun.path}/{action}", fields)
        return found, f"The {noun.word} {given.id} is {action}ed."

    return work


def change_member(action: str) -> Work:
    """Adds a member to a team, or removes one."""

    def work(client: AdminClient, given: argparse.Namespace) -> tuple[Any, str]:
        named = {"user_id": given.user}
        if action == "add":
            fields: dict[str, Any] = {"member": {**named, "role": given.role}}
        else:
            fields = named
        found = client.post(f"/team/member_{action}", {"team_id": given.id, **fields})
        members = ", ".join(f"{one['user_id']} ({one['role']})" for one in found["members_with_roles"])
        return found, f"Members of {given.id}: {members or 'nobody'}"

    return work


def _every(client: AdminClient, noun: Noun, search: str | None) -> Iterator[dict[str, Any]]:
    page = 1
    while True:
        found = client.get(f"{noun.path}/list", {"page": page, "page_size": _OWNERS_PAGE, "search": search})
        yield from found[noun.words]
        if page >= found["total_pages"]:
            return
        page += 1


def _info(client: AdminClient, noun: Noun, id: str) -> dict[str, Any]:
    if noun.path == "/tag":
        return client.post("/tag/info", {"names": [id]})[id]
    if noun.path == "/budget":
        found = client.post("/budget/info", {"budgets": [id]})
        if not found:
            raise AdminError(f"there is no budget {id!r}; `litellm-router budgets list` shows all")
        return found[0]
    found = client.get(f"{noun.path}/info", {"end_user_id" if noun.path == "/customer" else noun.id: id})
    return found.get("team_info") or found.get("user_info") or found


def _row(body: dict[str, Any]) -> dict[str, Any]:
    """The row in a response to a change."""
    return body.get("data") or body.get("tag") or body


def _given(noun: Noun, given: argparse.Namespace) -> dict[str, Any]:
    values = {name: getattr(given, name) for name in noun.options}
    return {name: value for name, value in values.items() if value is not None}
