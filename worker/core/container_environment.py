"""What the container is told through its environment, and how a change of it is noticed."""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping

TOKEN_VARIABLE = "INTERNAL_TOKEN"
# Whatever the configuration refers to: the key to the gateway itself stays outside, and only the object makes tokens.
NEVER_PASSED = frozenset({"LITELLM_MASTER_KEY", TOKEN_VARIABLE})


def container_environment(names: Iterable[str], variable: Callable[[str], str | None]) -> dict[str, str]:
    """Those of `names` that are set; set but empty means unset."""
    found = {name: variable(name) for name in names if name not in NEVER_PASSED}
    return {name: value for name, value in found.items() if value}


def fingerprint(environment: Mapping[str, str], token: str) -> str:
    """Differs when the environment does. Keyed, as it may hold secrets."""
    content = json.dumps(sorted(environment.items())).encode()
    return hmac.new(token.encode(), content, hashlib.sha256).hexdigest()
