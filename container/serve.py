"""`litellm-router serve`: puts the parts together, listens, and ends in good order."""

import logging
import socket
from collections.abc import Mapping
from pathlib import Path

import uvloop

from worker.api.failed_auth import FailedAuthLimiter
from worker.ledger.declared import Declared
from worker.protocol import GIVES_CONFIGURATION

from . import accounting as accounts
from . import log
from .cannot_serve import reasons_not_to_serve
from .config import Config, load
from .config.problems import CannotServe
from .engine.supervisor import Engine
from .gateway import Gateway, router_for
from .http_server import MAX_HEADER_BYTES
from .listen import listen
from .redis_address import redis_url
from .reload import Reloading
from .routing.router import Router
from .routing.shared import SharedCooldowns
from .running import Running, announce, close, say_listening, tracing_of
from .settings import Settings
from .settings import read as read_settings

UNPRICED = (
    "refused under a budget; set input_cost_per_token and output_cost_per_token in their model_info (0 is a price)"
)
NO_LEDGER = "There is the master key alone, and nothing is counted."


def run(config_path: Path, environment: Mapping[str, str]) -> None:
    """Serves until SIGTERM or SIGINT. Raises ConfigError, SettingsError or CannotServe."""
    config = Config(environment=environment) if _is_given_its_config(environment) else load(config_path, environment)
    settings = read_settings(config.environment)
    for reason in reasons_not_to_serve(settings, config):
        raise CannotServe(reason)
    listening = listen(settings.host, settings.port)
    log.configure(settings.log_level)
    logging.basicConfig(handlers=[log.Libraries()], level=logging.WARNING)
    serve = _alone
    if settings.internal_token:
        from .serve_behind_the_edge import behind_the_edge  # a proxy alone does without

        serve = behind_the_edge
    try:
        uvloop.run(serve(config, config_path, settings, environment, listening))
    finally:
        for one in listening:
            one.close()
        log.flush()


def _is_given_its_config(environment: Mapping[str, str]) -> bool:
    """Whether the edge gives this container its configuration. An edge of before says nothing of it, and relies on the
    file in the image."""
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

    async def accounts_for(new: Config, its_router: Router) -> accounts.Accounts:
        """The same ledger goes on; where there was none, a new config may want one."""
        nonlocal claim, accounting
        if isinstance(accounting, accounts.Accounting):
            return accounting.under(new.options.policy, _tariff(new, settings, its_router), _declared(new))
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
    finally:
        if shared:
            await shared.stop()
        await accounting.close()
        if claim:
            claim.close()
        await reloading.close()
        await close(tracing)


def _accounting(config: Config, settings: Settings, router: Router) -> tuple[accounts.Claim | None, accounts.Accounts]:
    """The ledger, where one is wanted. Raises CannotServe where it cannot be kept and something relies on it."""
    if not accounts.wanted(settings):
        return None, accounts.NoAccounting()
    try:
        path = accounts.prepare(settings)
        claim = accounts.Claim(path) if path else None
    except (accounts.NoLedger, OSError) as error:
        if accounts.required(settings, config.options):
            raise CannotServe(str(error)) from None
        log.warning("no_ledger", reason=str(error), effect=NO_LEDGER)
        return None, accounts.NoAccounting()
    lost = accounts.fleeting(path) if path else None
    if lost:
        log.warning("ledger_fleeting", effect=lost)
    if claim and not claim.alone:
        log.warning("ledger_shared", effect="Another proxy of this machine keeps its ledger in the same file.")
    tariff = _tariff(config, settings, router)
    return claim, accounts.Accounting(
        accounts.store(settings, path),
        config.options.policy,
        tariff,
        declared=_declared(config),
        alone=claim.alone if claim else not settings.database_url,
        retention_days=settings.spend_log_retention_days,
        webhook=settings.alert_webhook_url,
    )


def _declared(config: Config) -> list[Declared]:
    return [key.held for key in config.options.virtual_keys if key.held]


def _tariff(config: Config, settings: Settings, router: Router) -> accounts.Tariff:
    tariff = accounts.Tariff(config, router, default_max_output=settings.default_max_output)
    unpriced = tariff.unpriced(config)
    if unpriced and config.options.has_budget:
        log.warning("models_unpriced", models=unpriced, effect=UNPRICED)
    return tariff
