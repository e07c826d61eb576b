"""The catalog: the parts of the configuration that the edge needs, written as a module that the Worker imports."""

import hashlib
import json
import pprint
from pathlib import Path
from typing import Any

from worker.core.ledger import declared

from ..accounting.reservation import PriceBook, targets
from ..config import providers
from ..config.document import ConfigError, Problem, references, without_secrets
from ..config.load import Config, load
from ..config.providers import AZURE_VERSION_VARIABLE, DIRECT, ENGINE_NEEDS, ENGINE_VARIABLES, OPTIONAL_KEYS
from ..routing.router import Router, RouteRequest, Target
from ..server.settings import VARIABLES

# Settings that the edge needs when it makes a reservation.
_EARLY = (
    "max_budget",
    "soft_budget",
    "budget_duration",
    "max_user_budget",
    "user_budget_duration",
    "max_end_user_budget",
    "max_end_user_budget_id",
    "user_header_name",
    "user_header_mappings",
    "provider_budget_config",
    "model_max_budget",
    "max_fallbacks",
)
# Prefixes of settings that are read once per process.
_AT_START = ("LITELLM_LOG_LEVEL", "SHUTDOWN_GRACE", "WATCHDOG_SECONDS", "OTEL_")
# Settings that only a standalone proxy uses.
_ALONE = (
    "master_key", "database_url", "virtual_keys", "enable_jwt_auth", "litellm_jwtauth", *declared.SECTIONS,
)  # fmt: skip
_ROOT = Path(__file__).parents[2]
DEFAULT_PATH = _ROOT / "worker" / "catalog.py"
# An installed package contains no Worker to deploy.
IN_CHECKOUT = (_ROOT / "wrangler.jsonc").is_file()


def catalog(config: Config) -> dict:
    """Build the edge's catalog. `hash` covers what affects reservations, `configuration` covers everything:

    models        {name: [needs of each deployment]}, as in `worker.core.api.health`
    log_format    json or text
    environment   the variables that the edge passes to the container
    jwt_auth      the fields of `worker.core.identity.authenticator.ClaimRules`; None if JWTs are not accepted
    policy        {"everyone", "each_user", "each_end_user": the fields of `worker.core.ledger.accounts.Limits`,
                  "end_user_budget": the id of a budget, "accounts": {account id: fields of Limits}}
    user_headers  names of headers with the end user
    virtual_keys  entries of `worker.core.ledger.declared`
    owners        entries of `worker.core.ledger.declared`
    deployments   [{"id", "group", "needs", "price", "accounts"}], prices as in `worker.core.pricing.prices`; the
                  accounts of the ledger that it draws on only if there are any
    reach         {model name: [indices of the deployments that may serve a request for it]}; models that the edge
                  cannot quote are left out
    restart       those of `environment` that a container reads only at startup
    file          the config's name
    document      the config as JSON for the container, without what only a standalone proxy needs; each secret is
                  replaced by a reference, see `without_secrets`

    Raises ConfigError for limits that the edge would not enforce.
    """
    _refuse_late(config)
    policy, rules = config.options.policy, config.options.jwt_auth
    content = {
        "models": {name: [list(d.needs) for d in members] for name, members in config.groups.items()},
        "allowed_origins": list(config.options.allowed_origins),
        "log_format": config.options.log_format,
        "environment": environment_names(config),
        "policy": {
            "everyone": list(policy.everyone),
            "each_user": list(policy.each_user),
            "each_end_user": list(policy.each_end_user),
            "end_user_budget": policy.end_user_budget,
            "accounts": {id: list(limits) for id, limits in policy.accounts.items()},
            "slack_alerts": policy.slack_alerts,
        },
        "user_headers": list(config.options.user_headers),
        "jwt_auth": rules and _as_json(rules._asdict()),
        "virtual_keys": [{"variable": k.variable, "fields": dict(k.fields)} for k in config.options.virtual_keys],
        "owners": [{"section": one.section, "fields": dict(one.fields)} for one in config.options.owners],
        **_prices(config),
    }
    hashed = _hash(repr(content))
    document = _document(config)
    return {
        "hash": hashed,
        "configuration": _hash(f"{hashed} {config.name} {document}"),
        **content,
        "restart": [v.name for v in VARIABLES if v.edge and v.name.startswith(_AT_START)],
        "file": config.name,
        "document": document,
    }


def _as_json(value: Any) -> Any:
    """Returns the value as it comes back from JSON, so that the catalog holds nothing else."""
    return json.loads(json.dumps(value))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _document(config: Config) -> str:
    document = json.loads(config.document)
    general = document.get("general_settings")
    if isinstance(general, dict):
        document["general_settings"] = {name: value for name, value in general.items() if name not in _ALONE}
    return json.dumps(without_secrets(document))


def _prices(config: Config) -> dict[str, Any]:
    router = Router(config)
    price_book = PriceBook(config, router, default_max_output=1)
    place = {d.id: index for index, d in enumerate(config.deployments)}
    deployments = [
        {
            "id": d.id,
            "group": d.group,
            "needs": list(d.needs),
            "price": price_book.price(Target(d, d.model)),
            **({"accounts": list(router.accounts[d.id])} if d.id in router.accounts else {}),
        }
        for d in config.deployments
    ]
    reach: dict[str, list[int]] = {}
    for name in router.groups.names:
        ends = [target.deployment for _, target in targets(router, RouteRequest(name))]
        if not any(d.wildcard or d.presets for d in ends):
            reach[name] = list(dict.fromkeys(place[d.id] for d in ends))
    return {"deployments": deployments, "reach": reach}


def _refuse_late(config: Config) -> None:
    """Raises ConfigError for settings that must be known at build time but come from a variable, and for secrets of
    keys, which must not be part of the Worker."""
    late = [name for name in config.options.from_environment if name in _EARLY]
    if late:
        message = "stands in a variable, and the edge has to know it when the Worker is built."
        raise ConfigError([Problem("error", f"{config.name}: {late[0]}", message, "Write the value into the file.")])
    for d in config.deployments:
        if references(d.params.get("max_budget")) or references(d.params.get("budget_duration")):
            message = "its budget stands in a variable, and the edge has to know it when the Worker is built."
            raise ConfigError(
                [Problem("error", f"{config.name}: {d.group}", message, "Write the value into the file.")]
            )
    if any(key.variable is None for key in config.options.virtual_keys):
        message = "a key's secret stands in the file, and the Worker is no place for it."
        mend = "Write `key: os.environ/NAME`, and set NAME with `just wrangler secret put NAME`."
        raise ConfigError([Problem("error", f"{config.name}: general_settings.virtual_keys", message, mend)])


def environment_names(config: Config) -> list[str]:
    """Return every variable that the proxy or its engine may read with this config and that the edge may pass on."""
    names = {variable.name for variable in VARIABLES if variable.edge} | config.options.variables
    names.update(source for source in config.written.values() if source)
    for d in config.deployments:
        names.update(name for need in d.needs for name in need.split("|"))
        direct = DIRECT.get(d.provider)
        if direct:
            names.update(direct.base_variables, direct.key_variables)
        if d.provider in OPTIONAL_KEYS:
            names.add(OPTIONAL_KEYS[d.provider])
        if d.provider == "azure":
            names.add(AZURE_VERSION_VARIABLE)
        names.update(name for need in ENGINE_NEEDS.get(d.provider, ()) for name in need.split("|"))
        if d.kind == "engine":
            names.update(ENGINE_VARIABLES)
        if d.vertex is not None:
            names.update((providers.CREDENTIALS, *providers.BASES, *providers.PROJECTS, *providers.LOCATIONS))
    return sorted(names)


def source(config: Config) -> str:
    extract = catalog(config)
    document = extract.pop("document")
    text = pprint.pformat(extract, width=116, sort_dicts=False)
    return (
        f'"""Written by `litellm-router catalog` from {config.name}: change that file, not this one."""\n\n'
        f"CATALOG = {text}\n"
        f'CATALOG["document"] = {document!r}\n'
    )


def write(config_path: Path, target: Path = DEFAULT_PATH) -> bool:
    """Write the config's catalog if it differs. Return whether it did. Raises ConfigError."""
    text = source(load(Path(config_path), {}))
    if target.exists() and target.read_text(encoding="utf-8") == text:
        return False
    target.write_text(text, encoding="utf-8")
    return True
