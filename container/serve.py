"""`litellm-router serve`: puts the parts together, listens, and ends in good order."""

import asyncio
import errno
import gc
import logging
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

import uvloop

from worker.api.authenticate import WELL_KNOWN_KEY, same_secret
from worker.api.guesses import Guesses
from worker.api.instance import instance_of
from worker.ledger.declared import Declared

from . import accounting as accounts
from . import log
from .authenticate import is_loopback
from .config import Config, load
from .config.catalog import catalog
from .engine.supervisor import Engine
from .gateway import Gateway, router_for
from .http_server import MAX_HEADER_BYTES, MAX_HEADER_BYTES_OF_THE_EDGE, HttpServer
from .redis_address import redis_url
from .reload import CannotServe, Reloading
from .request_log import cannot_write
from .routing.router import Router
from .routing.shared import SharedCooldowns
from .settings import Settings
from .watchdog import Watchdog

_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
UNPRICED = (
    "refused under a budget; set input_cost_per_token and output_cost_per_token in their model_info (0 is a price)"
)
NEW_KEY = "sk-$(openssl rand -hex 32)"
NO_LEDGER = "There is the master key alone, and nothing is counted."
GARBAGE_THRESHOLDS = (50_000, 20, 20)


def run(config_path: Path, settings: Settings, environment: Mapping[str, str]) -> None:
    """Serves until SIGTERM or SIGINT. Raises ConfigError or CannotServe."""
    config = load(config_path, environment)
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


def reasons_not_to_serve(settings: Settings, config: Config) -> list[str]:
    """Each says what to do about it."""
    master_key = settings.master_key or config.options.master_key
    found = (
        _strangers(settings, master_key, config),
        _keys_for_nothing(settings, master_key, config),
        cannot_write(config.options.request_logging),
    )
    return [reason for reason in found if reason]


def _strangers(settings: Settings, master_key: str | None, config: Config) -> str | None:
    """Where anyone who reaches the address could spend money without a limit."""
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
    """Where everyone is served anyway, and the limits of keys would hold for nobody."""
    if not config.options.virtual_keys or master_key or settings.internal_token:
        return None
    return (
        "The config declares virtual_keys, and without a LITELLM_MASTER_KEY nobody needs a key. Set "
        f"LITELLM_MASTER_KEY (for example to {NEW_KEY}), or remove virtual_keys."
    )


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to the address: `::` is every address, IPv4 too, `localhost` both loopbacks. A machine without
    IPv6 has less of them. Raises CannotServe."""
    sockets: list[socket.socket] = []
    refusal: OSError | None = None
    try:
        for family, kind, protocol, _, address in dict.fromkeys(_addresses(host, port)):
            try:
                one = socket.socket(family, kind, protocol)
            except OSError as error:
                refusal = error
                continue
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
            try:
                one.bind(address)
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS:
                    raise
                refusal = error
                sockets.pop().close()
                continue
            one.setblocking(False)
            if host == "::":
                break
        if not sockets:
            raise refusal or OSError("there is no such address")
    except OSError as error:
        for one in sockets:
            one.close()
        raise _cannot_listen(host, port, error) from None
    return sockets


def _cannot_listen(host: str, port: int, error: OSError) -> CannotServe:
    return CannotServe(f"Cannot listen on {host} port {port}: {error.strerror or error}. Choose another with --port.")


def _addresses(host: str, port: int) -> list:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    if host == "::":  # on a machine without IPv6 what is left of it
        found += socket.getaddrinfo("0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)  # noqa: S104
    return found


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
    engine = Engine(config, environment, start_timeout=settings.engine_start_timeout)
    url = redis_url(environment)
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
        ),
        path,
        settings,
        environment,
        reasons_not_to_serve=lambda new: reasons_not_to_serve(settings, new),
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

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    # Behind the edge the image holds the config, and the edge's catalog fits no other.
    loop.add_signal_handler(signal.SIGHUP, _not_here if settings.internal_token else reloading.ask)
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
            raise _cannot_listen(settings.host, settings.port, error) from None
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
        log.info("stopped")


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
    off: dict[str, list[str]] = {}
    for d in config.deployments:
        for need in d.off:
            off.setdefault(need, []).append(d.group)
    for need, groups in off.items():
        log.warning("models_off", set=need.replace("|", " or "), models=sorted(set(groups)))
