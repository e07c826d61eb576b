"""Who a JWT names, at the edge. Imported with the first JWT."""

from collections.abc import Mapping
from typing import Any

from catalog import CATALOG
from core.api.errors import service_unavailable
from core.identity import jwt
from core.identity.callers import TokenAuthenticator
from core.identity.claims import KEY, ClaimRules

from .ledger_client import LedgerClient, LedgerUnavailable
from .runtime.javascript import bindings, variable
from .runtime.log import log
from .token_door import TokenDoor


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
