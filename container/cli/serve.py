"""`litellm-router serve`: assembles the proxy, listens, and shuts down cleanly."""

import logging
import socket
from collections.abc import Mapping
from pathlib import Path

import uvloop

from worker.core.api.auth import FailedAuthLimiter
from worker.core.ledger.declared import AnyDeclared
from worker.core.protocol import GIVES_CONFIGURATION

from ..accounting.accounting import Accounting, NoAccounting
from ..accounting.edge import Accounts
from ..accounting.price_book import PriceBook
from ..config.load import Config, load
from ..config.problems import CannotServe
from ..config.response_cache import redis_url
from ..engine.supervisor import Engine
from ..ledger import location
from ..ledger.location import Claim, NoLedger
from ..observability import log
from ..proxy.gateway import Gateway, router_for
from ..proxy.process import Running, announce, close, say_listening, tracing_of
from ..proxy.reload import Reloading
from ..proxy.startup_checks import reasons_not_to_serve
from ..routing.router import Router
from ..routing.shared_health import SharedCooldowns
from ..server.http import MAX_HEADER_BYTES, listen
from ..server.settings import Settings
from ..server.settings import read as read_settings

UNPRICED = "refused under a budget; set input_cost_per_token and output_cost_per_token in model_info (0 is allowed)"
NO_SLACK = "`alerting` names slack, but SLACK_WEBHOOK_URL is not set; no alerts are sent there."
NO_LEDGER = "There is the master key alone, and nothing is counted."


def run(config_path: Path, environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigError, SettingsError or CannotServe."""
    config = Config(environment=environment) if _is_given_its_config(environment) else load(config_path, environment)
    settings = read_settings(config.environment)
    for reason in reasons_not_to_serve(settings, config):
        raise CannotServe(reason)
    listening = listen(settings.host, settings.port)
    log.configure(settings.log_level)
    log.set_format(settings.log_format or config.options.log_format)
    logging.basicConfig(handlers=[log.Libraries()], level=logging.WARNING)
    serve = _alone
    if settings.internal_token:
        from .serve_behind_the_edge import behind_the_edge  # a standalone proxy does not need it

        serve = behind_the_edge
    try:
        uvloop.run(serve(config, config_path, settings, environment, listening))
    finally:
        for one in listening:
            one.close()
        log.flush()


def _is_given_its_config(environment: Mapping[str, str]) -> bool:
    """Whether the edge sends the configuration. An older edge relies on the file in the image instead."""
    settings = read_settings(environment)
    return settings.internal_token is not None and settings.internal_protocol >= GIVES_CONFIGURATION


async def _alone(
    config: Config,
    path: Path,
    settings: Settings,
    environment: Mapping[str, str],
    listening: list[socket.socket],
) -> None:
    router = router_for(config)
    claim, accounting = _accounting(config, settings, router)
    engine = Engine(config, config.environment, start_timeout=settings.engine_start_timeout)
    tracing = tracing_of(settings)
    url = redis_url(config.environment)
    shared = SharedCooldowns(router, url) if url else None

    async def accounts_for(new: Config, its_router: Router) -> Accounts:
        """Keep the ledger. If there was none, the new config may need one."""
        nonlocal claim, accounting
        if isinstance(accounting, Accounting):
            return accounting.under(new.options.policy, _price_book(new, settings, its_router), _declared(new))
        claim, accounting = _accounting(new, settings, its_router)
        await accounting.start()
        return accounting

    failed_auth = FailedAuthLimiter(settings.failed_keys_per_minute)
    reloading = Reloading(
        Gateway(config, settings, router, engine, accounting, failed_auth, tracing=tracing),
        path,
        settings,
        environment,
        accounting=accounts_for,
        announce=announce,
        shared=shared,
    )
    if shared:
        shared.start()
    await accounting.start()
    if config.needs_engine:
        engine.start()
    try:
        async with Running(reloading, MAX_HEADER_BYTES, settings, listening, on_hangup=reloading.ask) as running:
            announce(config)
            say_listening(listening, config)
            reloading.start()
            await running.stop.wait()
            if isinstance(accounting, Accounting):
                accounting.refuse_waiting()
    finally:
        if shared:
            await shared.stop()
        await accounting.close()
        if claim:
            claim.close()
        await reloading.close()
        await close(tracing)


def _accounting(config: Config, settings: Settings, router: Router) -> tuple[Claim | None, Accounts]:
    """Open the ledger if one is wanted. Raises CannotServe if that fails and something relies on it."""
    if not location.wanted(settings):
        return None, NoAccounting()
    try:
        path = location.prepare(settings)
        claim = Claim(path) if path else None
    except (NoLedger, OSError) as error:
        if location.required(settings, config.options):
            raise CannotServe(str(error)) from None
        log.warning("no_ledger", reason=str(error), effect=NO_LEDGER)
        return None, NoAccounting()
    lost = location.ephemeral_mount(path) if path else None
    if lost:
        log.warning("ledger_ephemeral", effect=lost)
    if claim and not claim.alone:
        log.warning("ledger_shared", effect="Another proxy on this machine uses the same ledger file.")
    if config.options.slack_alerts and not settings.slack_webhook_url:
        log.warning("setting_ignored", reason=NO_SLACK)
    price_book = _price_book(config, settings, router)
    return claim, Accounting(
        location.store(settings, path),
        config.options.policy,
        price_book,
        declared=_declared(config),
        alone=claim.alone if claim else not settings.database_url,
        retention_days=settings.spend_log_retention_days,
        webhook=settings.alert_webhook_url,
        slack=settings.slack_webhook_url,
        patience=settings.budget_patience,
    )


def _declared(config: Config) -> list[AnyDeclared]:
    keys = [key.held for key in config.options.virtual_keys if key.held]
    return [*(owner.held for owner in config.options.owners), *keys]


def _price_book(config: Config, settings: Settings, router: Router) -> PriceBook:
    price_book = PriceBook(
        config, router, default_max_output=settings.default_max_output, min_output=settings.min_output
    )
    unpriced = price_book.unpriced(config)
    if unpriced and config.options.has_budget:
        log.warning("models_unpriced", models=unpriced, effect=UNPRICED)
    return price_book
