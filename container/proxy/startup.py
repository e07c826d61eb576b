"""Before a configuration serves: the reasons not to accept it, because it would be unsafe or could not work, and its
ledger.
"""

from worker.core.api.auth import WELL_KNOWN_KEY, same_secret
from worker.core.ledger.declared import AnyDeclared

from ..accounting.accounting import Accounting, NoAccounting
from ..accounting.ledger import Ledger, LocalLedger
from ..accounting.price_book import PriceBook
from ..config.document import CannotServe
from ..config.load import Config
from ..ledger import location
from ..ledger.location import Claim, NoLedger
from ..observability import log
from ..records.request_log import cannot_write
from ..routing.router import Router
from ..server.auth import is_loopback
from ..server.settings import Settings

NEW_KEY = "sk-$(openssl rand -hex 32)"


def reasons_not_to_serve(settings: Settings, config: Config) -> list[str]:
    """Each reason says how to fix it."""
    master_key = settings.master_key or config.options.master_key
    found = (
        _strangers(settings, master_key, config),
        _keys_for_nothing(settings, master_key, config),
        _tokens_for_nothing(settings, master_key, config),
        _no_budget(config),
        cannot_write(config.options.request_logging),
    )
    return [reason for reason in found if reason]


def reasons_to_keep(running: Config, new: Config) -> list[str]:
    """List the models that are served now but would be lost through a fault in the new file, with the fault.

    A model that the new file does not name was removed on purpose.
    """
    if running.groups and not new.groups:
        return ["The new config has no model."]
    return [reason for name in running.groups if (reason := _taken_away(name, running, new))]


def _taken_away(name: str, running: Config, new: Config) -> str | None:
    before, after = (config.groups.get(name, ()) for config in (running, new))
    if sum(not d.off for d in after) >= sum(not d.off for d in before):
        return None
    faults = [str(problem) for problem in new.left_out.get(name, ()) if problem.level == "warning"]
    known = {need for d in before for need in d.off}
    unset = sorted({need.replace("|", " or ") for d in after for need in d.off if need not in known})
    faults += [f"set {' and '.join(unset)}"] if unset else []
    return f"The model '{name}' is served now but would be removed: {' '.join(faults)}" if faults else None


def _no_budget(config: Config) -> str | None:
    """A budget is in a variable that is not set, so there would be no limit."""
    names = config.options.budgets_unset
    if not names:
        return None
    return f"A budget of the config is in {names[0]}, which is not set: nothing would be limited. Set {names[0]}."


def _strangers(settings: Settings, master_key: str | None, config: Config) -> str | None:
    """Anyone who can reach the address could spend money without a limit."""
    open_to_others = not settings.internal_token and not is_loopback(settings.host)
    if open_to_others and master_key and same_secret(master_key, WELL_KNOWN_KEY):
        return (
            f"LITELLM_MASTER_KEY is {WELL_KNOWN_KEY}, which everybody knows, and {settings.host} is not this machine's "
            f"alone. Set another one (for example to {NEW_KEY}), or listen on --host 127.0.0.1."
        )
    if settings.internal_token or master_key or is_loopback(settings.host):
        return None
    if settings.allow_anonymous and config.options.max_budget is not None:
        return None
    if settings.allow_anonymous:
        return (
            "ALLOW_ANONYMOUS needs a global budget: set litellm_settings.max_budget in the config, or set "
            "LITELLM_MASTER_KEY."
        )
    return (
        f"Without a LITELLM_MASTER_KEY anyone who reaches {settings.host} could spend your money. Set "
        f"LITELLM_MASTER_KEY (for example to {NEW_KEY}), or listen on --host 127.0.0.1."
    )


def _keys_for_nothing(settings: Settings, master_key: str | None, config: Config) -> str | None:
    """No client needs a key, so the limits of the declared keys would never apply."""
    if not config.options.virtual_keys or master_key or settings.internal_token:
        return None
    return (
        "The config declares virtual_keys, and without a LITELLM_MASTER_KEY nobody needs a key. Set "
        f"LITELLM_MASTER_KEY (for example to {NEW_KEY}), or remove virtual_keys."
    )


def _tokens_for_nothing(settings: Settings, master_key: str | None, config: Config) -> str | None:
    """Nobody could administer the users and teams that JWTs name."""
    if config.options.jwt_auth is None or master_key or settings.internal_token:
        return None
    return (
        "The config accepts JWTs (enable_jwt_auth), and without a LITELLM_MASTER_KEY this gateway serves nothing. Set "
        f"LITELLM_MASTER_KEY (for example to {NEW_KEY}), or remove enable_jwt_auth."
    )


# The ledger and the accounting of a configuration.

# Another worker's report may come a moment after the client has its answer. A request that only running ones keep out
# waits at least this long.
_PATIENCE_OF_WORKERS = 0.1
# The requests of several workers come one by one, where those of one process come together.
_PACE_OF_WORKERS = 0.002
UNPRICED = "refused under a budget; set input_cost_per_token and output_cost_per_token in model_info (0 is allowed)"
NO_SLACK = "`alerting` names slack, but SLACK_WEBHOOK_URL is not set; no alerts are sent there."
NO_LEDGER = "There is the master key alone, and nothing is counted."


def open_ledger(
    config: Config, settings: Settings, *, workers: bool = False
) -> tuple[Claim | None, LocalLedger | None]:
    """Open the ledger if one is wanted. Raises CannotServe if that fails and something relies on it."""
    if not location.wanted(settings):
        return None, None
    try:
        path = location.prepare(settings)
        claim = Claim(path) if path else None
    except (NoLedger, OSError) as error:
        if location.required(settings, config.options):
            raise CannotServe(str(error)) from None
        log.warning("no_ledger", reason=str(error), effect=NO_LEDGER)
        return None, None
    lost = location.ephemeral_mount(path) if path else None
    if lost:
        log.warning("ledger_ephemeral", effect=lost)
    if claim and not claim.alone:
        log.warning("ledger_shared", effect="Another proxy on this machine uses the same ledger file.")
    if config.options.slack_alerts and not settings.slack_webhook_url:
        log.warning("setting_ignored", reason=NO_SLACK)
    return claim, LocalLedger(
        location.store(settings, path),
        config.options.policy,
        declared=declared(config),
        alone=claim.alone if claim else not settings.database_url,
        retention_days=settings.spend_log_retention_days,
        webhook=settings.alert_webhook_url,
        slack=settings.slack_webhook_url,
        patience=max(settings.budget_patience, _PATIENCE_OF_WORKERS if workers else 0.0),
        pace=_PACE_OF_WORKERS if workers else 0.0,
    )


def accounting_of(
    config: Config, settings: Settings, router: Router, ledger: Ledger | None
) -> Accounting | NoAccounting:
    if ledger is None:
        return NoAccounting()
    return Accounting(ledger, config.options.policy, _price_book(config, settings, router))


def warn_of_prices(config: Config, settings: Settings, router: Router) -> None:
    """Log the models whose requests are refused under a budget."""
    unpriced = _price_book(config, settings, router).unpriced(config) if config.options.has_budget else ()
    if unpriced:
        log.warning("models_unpriced", models=unpriced, effect=UNPRICED)


def declared(config: Config) -> list[AnyDeclared]:
    """The config's keys and owners, as the ledger takes them."""
    keys = [key.held for key in config.options.virtual_keys if key.held]
    return [*(owner.held for owner in config.options.owners), *keys]


def _price_book(config: Config, settings: Settings, router: Router) -> PriceBook:
    return PriceBook(config, router, default_max_output=settings.default_max_output, min_output=settings.min_output)
