"""`litellm-router serve`: puts the parts together, listens, and ends in good order."""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from worker.api.guesses import Guesses
from worker.api.instance import instance_of
from worker.ledger.declared import Declared

from . import accounting as accounts
from . import log
from .cannot_serve import CannotServe, reasons_not_to_serve
from .config import Config, load
from .config.catalog import catalog
from .engine.supervisor import Engine
from .gateway import Gateway, router_for
from .http_server import MAX_HEADER_BYTES, MAX_HEADER_BYTES_OF_THE_EDGE, HttpServer
from .listen import cannot_listen, listen
from .redis_address import redis_url
from .reload import Reloading
from .routing.router import Router
from .routing.shared import SharedCooldowns
from .settings import Settings
from .settings import read as read_settings
from .watchdog import Watchdog

if TYPE_CHECKING:
    from .tracing import Tracing

UNPRICED = (
    "refused under a budget; set input_cost_per_token and output_cost_per_token in their model_info (0 is a price)"
)
NO_LEDGER = "There is the master key alone, and nothing is counted."
GARBAGE_THRESHOLDS = (50_000, 20, 20)


def run(config_path: Path, environment: Mapping[str, str]) -> None:
    """Serves until SIGTERM or SIGINT. Raises ConfigError, SettingsError or CannotServe."""
    config = load(config_path, environment)
    settings = read_settings(config.environment)
    for reason in reasons_not_to_serve(settings, config):
        raise CannotServe(reason)
    catalog_hash = catalog(load(config_path, {}))["hash"] if settings.internal_token else ""
    listening = listen(settings.host, settings.port)
    log.configure(settings.log_level)
    logging.basicConfig(handlers=[log.Libraries()], level=logging.WARNING)
    try:
        uvloop.run(_serve(config, config_path, settings, environment, listening, catalog_hash))
    finally:
        for one in listening:
            one.close()
        log.flush()


async def _serve(
    config: Config,
    path: Path,
    settings: Settings,
    environment: Mapping[str, str],
    listening: list[socket.socket],
    catalog_hash: str = "",
) -> None:
    router = router_for(config)
    claim, accounting = _accounting(config, settings, router)
    engine = Engine(config, config.environment, start_timeout=settings.engine_start_timeout)
    tracing = _tracing(settings)
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

    reloading = Reloading(
        Gateway(
            config,
            settings,
            router,
            engine,
            accounting,
            Guesses(settings.failed_keys_per_minute),
            catalog=catalog_hash,
            tracing=tracing,
        ),
        path,
        settings,
        environment,
        accounting=accounts_for,
        announce=_announce,
        shared=shared,
    )
    edge = reloading.current.edge
    server = HttpServer(reloading, MAX_HEADER_BYTES_OF_THE_EDGE if edge else MAX_HEADER_BYTES)
    loop = asyncio.get_running_loop()
    stop, at_once = asyncio.Event(), asyncio.Event()

    def end() -> None:
        """The first signal lets running requests end; a second one does not wait for them."""
        (at_once if stop.is_set() else stop).set()

    # Behind the edge the image holds the config, and the edge's catalog fits no other.
    on_hangup = _not_here if settings.internal_token else reloading.ask
    on_signal = {signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: on_hangup}
    for number, work in on_signal.items():
        loop.add_signal_handler(number, work)
    if shared:
        shared.start()
    await accounting.start()
    if config.needs_engine:
        engine.start()
    _calm_garbage_collector()
    watchdog = Watchdog(settings.watchdog_seconds)
    watchdog.start()
    try:
        try:
            await server.start(listening)
        except OSError as error:  # someone else has begun to listen since we took the address
            raise cannot_listen(settings.host, settings.port, error) from None
        _announce(config)
        for one in listening:
            address = one.getsockname()
            log.info("listening", host=address[0], port=address[1], config=config.name, models=len(config.groups))
        if not settings.internal_token:
            reloading.start()
        await stop.wait()
        if edge:
            await edge.finish(settings.shutdown_grace, at_once)
        await server.stop(settings.shutdown_grace, at_once)
    finally:
        watchdog.stop()
        if shared:
            await shared.stop()
        await accounting.close()
        if claim:
            claim.close()
        await reloading.close()
        if tracing:
            await asyncio.to_thread(tracing.close)
        log.info("stopped")
        for number in on_signal:  # while the interpreter ends there are no handlers any more, and one would kill it
            signal.signal(number, signal.SIG_IGN)


def _tracing(settings: Settings) -> "Tracing | None":
    """Raises CannotServe."""
    if settings.tracing is None:
        return None
    from .tracing import Tracing  # only who wants traces pays for it

    try:
        return Tracing(settings.tracing)
    except OSError as error:
        raise CannotServe(f"OTEL_EXPORTER_OTLP_CERTIFICATE cannot be used: {error}.") from None


def _not_here() -> None:
    log.warning("config_not_reloaded", effect="Behind the edge a config comes with its image: deploy again.")


def _accounting(config: Config, settings: Settings, router: Router) -> tuple[accounts.Claim | None, accounts.Accounts]:
    """The ledger, where one is wanted: the edge's behind it. Raises CannotServe where it cannot be kept
    and something relies on it."""
    if settings.internal_token:
        tariff = accounts.Tariff(config, router, default_max_output=settings.default_max_output)
        return None, accounts.EdgeAccounting(tariff, instance_of(settings.internal_token))
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


def _calm_garbage_collector() -> None:
    """What exists now stays for good, so it is not looked at again; requests leave few cycles, so looking less often
    costs little memory and saves a tenth of the CPU per request (bench/)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def _announce(config: Config) -> None:
    for problem in config.problems:
        log.warning("config", problem=str(problem)) if problem.level == "warning" else None
    if not config.deployments:  # as LiteLLM, which may have models in its database, it starts all the same
        log.error("no_models", config=config.name, effect="Every request for a model is answered 404.")
    off: dict[str, list[str]] = {}
    for d in config.deployments:
        for need in d.off:
            off.setdefault(need, []).append(d.group)
    for need, groups in off.items():
        log.warning("models_off", set=need.replace("|", " or "), models=sorted(set(groups)))
