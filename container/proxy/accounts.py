"""Opens the ledger that a configuration asks for, and makes the accounting of that configuration."""

from worker.core.ledger.declared import AnyDeclared

from ..accounting.accounting import Accounting, NoAccounting
from ..accounting.ledger import Ledger, LocalLedger
from ..accounting.price_book import PriceBook
from ..config.load import Config
from ..config.problems import CannotServe
from ..ledger import location
from ..ledger.location import Claim, NoLedger
from ..observability import log
from ..routing.router import Router
from ..server.settings import Settings

# Another worker's report may come a moment after the client has its answer. A request that only running ones keep out
# waits at least this long.
_PATIENCE_OF_WORKERS = 0.1
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
