"""`litellm-router serve`: puts the parts together, listens, and ends in good order."""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from worker.api.guesses import Guesses
from worker.api.hop import PROTOCOL
from worker.api.instance import instance_of
from worker.ledger.declared import Declared

from . import accounting as accounts
from . import log
from .authenticate import Authenticator
from .cannot_serve import CannotServe, reasons_not_to_serve
from .config import Config, load, loads
from .config.catalog import catalog
from .configurations import Configurations, Given
from .engine.configuration import same_engine
from .engine.supervisor import Engine
from .gateway import Gateway, router_for
from .http_server import MAX_HEADER_BYTES, MAX_HEADER_BYTES_OF_THE_EDGE, Handler, HttpServer
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
    config = Config() if _is_given_its_config(environment) else load(config_path, environment)
    settings = read_settings(config.environment or environment)
    for reason in reasons_not_to_serve(settings, config):
        raise CannotServe(reason)
    listening = listen(settings.host, settings.port)
    log.configure(settings.log_level)
    logging.basicConfig(handlers=[log.Libraries()], level=logging.WARNING)
    serving = (
        _behind_the_edge(config, config_path, settings, environment, listening)
        if settings.internal_token
        else _alone(config, config_path, settings, environment, listening)
    )
    try:
        uvloop.run(serving)
    finally:
        for one in listening:
            one.close()
        log.flush()


def _is_given_its_config(environment: Mapping[str, str]) -> bool:
    """Whether the edge gives this container its configuration. An edge of before says nothing of it, and relies on the
    file in the image."""
    settings = read_settings(environment)
    return settings.internal_token is not None and settings.internal_protocol >= PROTOCOL


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

    guesses = Guesses(settings.failed_keys_per_minute)
    reloading = Reloading(
        Gateway(config, settings, router, engine, accounting, guesses, tracing=tracing),
        path,
        settings,
        environment,
        accounting=accounts_for,
        announce=_announce,
        shared=shared,
    )
    if shared:
        shared.start()
    await accounting.start()
    if config.needs_engine:
        engine.start()
    try:
        async with _Running(reloading, MAX_HEADER_BYTES, settings, listening, on_hangup=reloading.ask) as running:
            _announce(config)
            _say_listening(listening, config)
            reloading.start()
            await running.stop.wait()
    finally:
        if shared:
            await shared.stop()
        await accounting.close()
        if claim:
            claim.close()
        await reloading.close()
        await _close(tracing)


async def _behind_the_edge(
    config: Config,
    path: Path,
    settings: Settings,
    environment: Mapping[str, str],
    listening: list[socket.socket],
) -> None:
    """`config`: what is served until the edge has given another one."""
    assert settings.internal_token is not None
    folder = path.absolute().parent  # noqa: ASYNC240 nothing is read
    tracing = _tracing(settings)
    router = router_for(config)
    tariff = accounts.Tariff(config, router, default_max_output=settings.default_max_output)
    accounting = accounts.EdgeAccounting(tariff, instance_of(settings.internal_token))
    engine = Engine(config, config.environment, start_timeout=settings.engine_start_timeout)
    hashed = catalog(load(path, {}))["hash"] if config.deployments else ""
    guesses = Guesses(settings.failed_keys_per_minute)
    first = Gateway(config, settings, router, engine, accounting, guesses, catalog=hashed, tracing=tracing)
    if config.needs_engine:
        engine.start()
    url = redis_url(config.environment)
    shared = SharedCooldowns(router, url) if url else None

    async def made(given: Given, before: Gateway) -> Gateway:
        """Raises ConfigError, SettingsError, CannotServe."""
        nonlocal shared
        others = {name: value for name, value in environment.items() if name not in given.variables}
        surroundings = {**others, **given.environment}
        new = await asyncio.to_thread(loads, given.file, given.document, surroundings, folder)
        its_settings = read_settings(new.environment)
        for reason in reasons_not_to_serve(its_settings, new):
            raise CannotServe(reason)
        its_router = router_for(new, before.router, before.config)
        its_tariff = accounts.Tariff(new, its_router, default_max_output=its_settings.default_max_output)
        its_engine = before.engine
        if not same_engine(new, before.config):
            its_engine = Engine(new, new.environment, start_timeout=its_settings.engine_start_timeout)
        if new.needs_engine:
            its_engine.start()
        its_url = redis_url(new.environment)
        if shared is not None:
            shared.follow(its_router)
        elif its_url:
            shared = SharedCooldowns(its_router, its_url)
            shared.start()
        _announce(new)
        log.info("config_given", config=new.name, models=len(new.groups), engine=its_engine.state)
        return Gateway(
            new,
            its_settings,
            its_router,
            its_engine,
            accounting.under(its_tariff),
            guesses,
            catalog=given.catalog,
            tracing=tracing,
        )

    configurations = Configurations(first, Authenticator(settings, None, ()), made)
    if shared:
        shared.start()
    try:
        async with _Running(
            configurations, MAX_HEADER_BYTES_OF_THE_EDGE, settings, listening, on_hangup=_not_here
        ) as running:
            _announce(config)
            _say_listening(listening, config)
            await running.stop.wait()
            await configurations.finish(settings.shutdown_grace, running.at_once)
    finally:
        if shared:
            await shared.stop()
        await accounting.close()
        await configurations.close()
        await _close(tracing)


class _Running:
    """The server and the signals, from the first request to the last.

    `stop` is set by SIGTERM or SIGINT, which lets running requests end; `at_once` by a second one, which does not wait
    for them.
    """

    def __init__(
        self,
        handler: Handler,
        max_header_bytes: int,
        settings: Settings,
        listening: list[socket.socket],
        *,
        on_hangup: Callable[[], None],
    ) -> None:
        self.stop, self.at_once = asyncio.Event(), asyncio.Event()
        self._server = HttpServer(handler, max_header_bytes)
        self._settings = settings
        self._listening = listening
        self._watchdog = Watchdog(settings.watchdog_seconds)
        self._on_signal = {signal.SIGTERM: self._end, signal.SIGINT: self._end, signal.SIGHUP: on_hangup}

    def _end(self) -> None:
        (self.at_once if self.stop.is_set() else self.stop).set()

    async def __aenter__(self) -> "_Running":
        """Raises CannotServe."""
        loop = asyncio.get_running_loop()
        for number, work in self._on_signal.items():
            loop.add_signal_handler(number, work)
        _calm_garbage_collector()
        self._watchdog.start()
        try:
            await self._server.start(self._listening)
        except OSError as error:  # someone else has begun to listen since we took the address
            self._watchdog.stop()
            raise cannot_listen(self._settings.host, self._settings.port, error) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._server.stop(self._settings.shutdown_grace, self.at_once)
        finally:
            self._watchdog.stop()


async def _close(tracing: "Tracing | None") -> None:
    """The last thing that is done."""
    if tracing:
        await asyncio.to_thread(tracing.close)
    log.info("stopped")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # while the interpreter ends there are no handlers any more


def _say_listening(listening: list[socket.socket], config: Config) -> None:
    for one in listening:
        address = one.getsockname()
        log.info("listening", host=address[0], port=address[1], config=config.name, models=len(config.groups))


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
    log.warning("config_not_reloaded", effect="Behind the edge a config comes from the Worker: deploy it again.")


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
