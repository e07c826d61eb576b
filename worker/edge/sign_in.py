"""JWTs and the dashboard's endpoints for sign-in, at the edge. Public keys are fetched, and signatures checked, by
fetch and WebCrypto.

Imported with the first JWT or sign-in. https://developers.cloudflare.com/workers/runtime-apis/web-crypto/
"""

import time
from collections.abc import Coroutine, Mapping
from typing import Any

from pyodide.ffi import JsException, to_js

from catalog import CATALOG
from core.api.errors import refused, service_unavailable, unknown_path
from core.identity import jwt
from core.identity.authenticator import KEY, ClaimRules, TokenAuthenticator
from core.identity.jwt import ALGORITHMS, FETCH_SECONDS, CannotFetch, PublicKey, Token
from core.protocol import MASTER, EdgeGrant
from core.shared_settings import derived
from core.sign_in import flow
from core.sign_in.flow import SignIn
from core.sign_in.settings import SignInSettings

from .admission import Presented
from .messages import Client
from .runtime.javascript import (
    NULL,
    bindings,
    error_text,
    js,
    js_headers,
    js_object,
    kept,
    or_none,
    variable,
    wait_until,
)
from .runtime.log import log
from .stubs import LedgerClient, LedgerUnavailable, unavailable


def token_authenticator(ledger: LedgerClient, leeway: float) -> TokenAuthenticator:
    """`leeway`: in seconds, JWT_LEEWAY."""
    env = bindings()

    def read(name: str) -> str | None:
        """An unreadable key is left out: it checks no token."""
        value = variable(env, name)
        if name == KEY and value is not None:
            try:
                jwt.from_pem(value)
            except ValueError as error:
                log("error", "setting_ignored", reason=f"{KEY} cannot be used: it {error}.")
                return None
        return value

    async def find_owners(asked: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return await ledger.call("find_owners", asked)
        except LedgerUnavailable as error:
            log("error", "ledger_unavailable", reason=str(error))
            raise service_unavailable(
                "The ledger cannot be used now, so nothing can be paid for. Try again in a moment."
            ) from None

    rules = ClaimRules.read(CATALOG["jwt_auth"])
    return TokenAuthenticator(rules, rules.trusts(read), TokenDoor(), find_owners, leeway=leeway)


_MOST_KEYS = 1000


class TokenDoor:
    """A `Door`."""

    def __init__(self) -> None:
        self._keys: dict[tuple[PublicKey, str], Any] = {}

    async def exchange(self, url: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, bytes]:
        sent = {} if body is None else {"body": body.decode()}
        try:
            response = await js.fetch(
                url,
                method="GET" if body is None else "POST",
                headers=js_headers(headers.items()),
                redirect="manual",
                signal=js.AbortSignal.timeout(int(FETCH_SECONDS * 1000)),
                **sent,
            )
            length = or_none(response.headers.get("content-length")) or "0"
            if int(length) > jwt.MOST_BYTES:
                if response.body:
                    await response.body.cancel()
                raise CannotFetch(f"the answer has {length} bytes")
            content = (await response.arrayBuffer()).to_bytes()
        except JsException as error:
            reason = str(getattr(error, "name", "") or "no answer")
            raise CannotFetch(f"the server cannot be reached: {reason}") from None
        if len(content) > jwt.MOST_BYTES:
            raise CannotFetch(f"the answer has more than {jwt.MOST_BYTES} bytes")
        return response.status, content

    async def is_signed(self, key: PublicKey, token: Token) -> bool:
        subtle, name = kept("crypto.subtle"), token.algorithm
        try:
            own = self._keys.get((key, name))
            if own is None:
                jwk, usages = js_object(dict(key.jwk)), to_js(["verify"])
                own = await subtle.importKey("jwk", jwk, js_object(_import(name)), False, usages)
                if len(self._keys) >= _MOST_KEYS:
                    self._keys.clear()
                self._keys[key, name] = own
            signature, signed = to_js(token.signature), to_js(token.signed)
            return bool(await subtle.verify(js_object(_check(name)), own, signature, signed))
        except JsException as error:
            log("debug", "jwt_key_unusable", reason=error_text(error))
            return False

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        wait_until(work)

    def report(self, event: str, url: str, reason: str) -> None:
        log("warning", event, url=url, reason=reason)


def _hash_name(name: str) -> str:
    return f"SHA-{ALGORITHMS[name].bits}"


def _import(name: str) -> dict[str, Any]:
    """Returns the parameters of `importKey`."""
    algorithm = ALGORITHMS[name]
    if algorithm.kty == "RSA":
        return {"name": "RSA-PSS" if algorithm.pss else "RSASSA-PKCS1-v1_5", "hash": _hash_name(name)}
    return {"name": "ECDSA", "namedCurve": algorithm.crv} if algorithm.kty == "EC" else {"name": "Ed25519"}


def _check(name: str) -> dict[str, Any]:
    """Returns the parameters of `verify`."""
    algorithm = ALGORITHMS[name]
    if algorithm.pss:
        return {"name": "RSA-PSS", "saltLength": algorithm.bits // 8}
    if algorithm.kty == "EC":
        return {"name": "ECDSA", "hash": _hash_name(name)}
    return {"name": "RSASSA-PKCS1-v1_5" if algorithm.kty == "RSA" else "Ed25519"}


_PURPOSE = b"sign-in"
# The owner of a person's request to a container, which must not take it for the master key's.
_PERSON = "person"


def made(settings: SignInSettings, secret: str, most_failures: int) -> SignIn:
    """Returns the isolate's `SignIn`."""

    own = derived(secret.encode("utf-8", "surrogatepass"), _PURPOSE, 32)
    return SignIn(settings, own, TokenDoor(), most_failures)


async def answer(sign_in: SignIn | None, ledger: LedgerClient, client: Client, name: str, path: str, query: str) -> Any:
    """Returns a JS response. `sign_in`: None if it is not configured. Raises ApiError 403, 404 or 503."""
    if sign_in is None:
        found = flow.off(name)
        if found is None:
            raise unknown_path(path)
    else:

        def failed(code: str, reason: str) -> None:
            log("warning", "sign_in_failed", request_id=client.id, code=code, reason=reason)

        sessions = _Sessions(ledger, client.id)
        header, address = client.headers.get, client.headers.get("cf-connecting-ip", "")
        found = await flow.answer(name, query, header, address, sign_in, sessions, time.time(), failed)
    body = NULL if not found.body or client.method == "HEAD" else found.body.decode()
    return js.Response.new(body, status=found.status, headers=js_headers(found.headers))


async def grant_of(ledger: LedgerClient, client: Client, person: dict[str, str]) -> tuple[EdgeGrant, Presented]:
    """Returns a grant for a person's request, and who it is. Raises ApiError 401, 403 or 503."""
    found = await _Sessions(ledger, client.id).call("identify", person)
    if not found["ok"]:
        raise refused(found)
    if found["operator"]:
        return EdgeGrant(owner=MASTER), Presented()
    return EdgeGrant(models=found["models"], owner=_PERSON), Presented(session=person)


class _Sessions:
    """For `flow.Sessions`."""

    def __init__(self, ledger: LedgerClient, request_id: str) -> None:
        self._ledger = ledger
        self._request_id = request_id

    async def start(self, hash: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self.call("session", {"start": hash, "fields": dict(fields)})

    async def end(self, hash: str) -> None:
        await self.call("session", {"end": hash})

    async def who(self, hash: str) -> Mapping[str, Any]:
        return await self.call("session", {"who": hash})

    async def call(self, method: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Raises ApiError 503."""
        try:
            return await self._ledger.call(method, fields)
        except LedgerUnavailable as error:
            raise unavailable(error, self._request_id) from None
