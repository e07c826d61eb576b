"""An HTTP client for the admin API. It sends the master key only to the given address."""

import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

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
