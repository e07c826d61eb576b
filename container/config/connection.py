"""Where a provider is, which key goes there, and which variables are needed for it."""

from . import address
from .address import origin
from .parameters import Parameters
from .providers import ENGINE_NEEDS, OPTIONAL_KEYS, Direct


def called_directly(read: Parameters, provider: str, direct: Direct) -> tuple[str, str | None, list[str]]:
    """Base URL, key and needs of a provider that is called directly."""
    environment, needs = read.environment, []
    explicit = read.text("api_base") or read.text("base_url")
    names_base = "api_base" in read.params or "base_url" in read.params
    from_variable = next((environment[v] for v in direct.base_variables if environment.get(v)), None)
    base = explicit or ("" if names_base else from_variable or direct.base)
    if not names_base and not from_variable and not direct.base:
        if direct.base_variables:
            needs.append("|".join(direct.base_variables))
        else:
            read.leave_out("api_base", "is missing", f"Say where the {provider} server is.")
    key = read.text("api_key")
    if key is None and "api_key" not in read.params:
        key = next((environment[v] for v in direct.key_variables if environment.get(v)), None)
        if provider in OPTIONAL_KEYS:
            key = environment.get(OPTIONAL_KEYS[provider])
        # A provider's default key goes to its own address, or one the environment names, and nowhere else.
        has_home = bool(direct.base and direct.key_variables)
        stranger = names_base and has_home and origin(explicit or "") != origin(direct.base)
        if stranger:
            if key is not None:
                read.document.report(
                    "warning",
                    (*read.path, "api_base"),
                    f"is not {provider}'s own address, so {direct.key_variables[0]} is not sent there.",
                    "Write `api_key: os.environ/NAME` beside it if it needs a key.",
                )
            key = None
        elif direct.key_variables:
            needs.append("|".join(direct.key_variables))
    wrong = address.wrong(base) if base else None
    if wrong:
        read.leave_out("api_base", wrong)
    base = base.rstrip("/")
    if direct.base_suffix and base and not base.endswith(direct.base_suffix):
        base += direct.base_suffix
    return base, key, needs


def engine_needs(provider: str, params: dict, direct: Direct | None) -> list[str]:
    if "api_key" in params or (provider == "vertex_ai" and "vertex_credentials" in params):
        return []
    if direct and provider not in ENGINE_NEEDS:
        own_home = "api_base" not in params and "base_url" not in params
        return ["|".join(direct.key_variables)] if direct.key_variables and own_home else []
    return list(ENGINE_NEEDS.get(provider, ()))
