"""The environment variables passed to the container, and a fingerprint to detect changes."""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping

from .values.derived_secrets import SALT_KEY, SEAL_VARIABLE

TOKEN_VARIABLE = "INTERNAL_TOKEN"
# Never passed, even if the configuration refers to them. Only the object makes tokens.
NEVER_PASSED = frozenset({"LITELLM_MASTER_KEY", SALT_KEY, SEAL_VARIABLE, TOKEN_VARIABLE})


def container_environment(names: Iterable[str], variable: Callable[[str], str | None]) -> dict[str, str]:
    """Returns those of `names` that are set. An empty value counts as unset."""
    found = {name: variable(name) for name in names if name not in NEVER_PASSED}
    return {name: value for name, value in found.items() if value}


def fingerprint(environment: Mapping[str, str], token: str) -> str:
    """Changes whenever the environment does. Keyed, because the environment may contain secrets."""
    content = json.dumps(sorted(environment.items())).encode()
    return hmac.new(token.encode(), content, hashlib.sha256).hexdigest()
