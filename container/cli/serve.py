"""`litellm-router serve`: assembles the proxy, listens, and shuts down cleanly. Alone, or behind the edge, which keeps
the ledger and sends the configuration.

`litellm-router check`: reports all problems with the config and the environment at once.
"""

import asyncio
import logging
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import uvloop

from worker.core.protocol import GIVES_CONFIGURATION, READS_ATTEMPTS, GivenConfiguration, instance_of

from ..accounting.edge import Accounts, EdgeAccounting, Journal
from ..accounting.reservation import PriceBook
from ..config.deployment import Deployment
from ..config.document import CannotServe, ConfigError
from ..config.load import Config, load, loads
from ..config.sections import redis_url
from ..engine import Engine, packages_installed, same_engine
from ..observability import log
from ..proxy.configurations import Configurations, Reloading
from ..proxy.gateway import Gateway, router_for
from ..proxy.process import (
    Launch,
    Running,
    announce,
    calm_garbage_collector,
    close,
    cores,
    say_listening,
    tracing_of,
)
from ..proxy.startup import (
    NO_LEDGER,
    NO_SLACK,
    UNPRICED,
    accounting_of,
    declared,
    ephemeral_mount,
    keeps_ledger,
    ledger_file,
    ledger_unusable,
    open_ledger,
    reasons_not_to_serve,
    requires_ledger,
    warn_of_prices,
)
from ..routing.router import Router
from ..routing.shared_health import SharedCooldowns
from ..server import settings
from ..server.auth import Authenticator, count_failed_keys
from ..server.http import MAX_HEADER_BYTES, MAX_HEADER_BYTES_OF_THE_EDGE, listen
from ..server.settings import AUTO
from ..server.settings import read as read_settings


class WrongUsage(Exception):
    """Options that contradict each other."""


def run(config_path: Path, environment: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT. Return the exit code. Raises ConfigError, SettingsError, CannotServe or
    WrongUsage."""
    config = Config(environment=environment) if _is_given_its_config(environment) else load(config_path, environment)
    settings = read_settings(config.environment)
    for reason in reasons_not_to_serve(settings, config):
        raise CannotServe(reason)
    workers = cores() if settings.workers == AUTO else int(settings.workers)
    if workers > 1 and settings.internal_token:
        raise WrongUsage("Behind the edge there is one worker in each container. Set CONTAINER_INSTANCES instead.")
    listening = listen(settings.host, settings.port)
    log.configure(settings.log_level)
    log.set_format(settings.log_format or config.options.log_format)
    logging.basicConfig(handlers=[log.Libraries()], level=logging.WARNING)
    launch = Launch(config, config_path, settings, environment, listening)
    serve = _behind_the_edge if settings.internal_token else _alone
    try:
        if workers > 1:
            from ..workers.supervisor import supervise  # a single process does not need it

            return supervise(launch, workers)
        uvloop.run(serve(launch))
        return 0
    finally:
        for one in listening:
            one.close()
        log.flush()


def _is_given_its_config(environment: Mapping[str, str]) -> bool:
    """Whether the edge sends the configuration. An older edge relies on the file in the image instead."""
    settings = read_settings(environment)
    return settings.internal_token is not None and settings.internal_protocol >= GIVES_CONFIGURATION


async def _alone(launch: Launch) -> None:
    config, path, settings, environment, listening = launch
    router = router_for(config)
    claim, ledger = open_ledger(config, settings)
    engine = Engine(config, config.environment, start_timeout=settings.engine_start_timeout)
    tracing = tracing_of(settings)
    url = redis_url(config.environment)
    shared = SharedCooldowns(router, url) if url else None

    async def accounts_for(new: Config, its_router: Router) -> Accounts:
        """Keep the ledger. If there was none, the new config may need one."""
        nonlocal claim, ledger
        if ledger is not None:
            ledger.configure(new.options.policy, declared(new))
        else:
            claim, ledger = open_ledger(new, settings)
            if ledger is not None:
                await ledger.start()
        if ledger is not None:
            warn_of_prices(new, settings, its_router)
        return accounting_of(new, settings, its_router, ledger)

    failed_auth = count_failed_keys(settings.failed_keys_per_minute)
    accounting = accounting_of(config, settings, router, ledger)
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
    if ledger is not None:
        warn_of_prices(config, settings, router)
        await ledger.start()
    if config.needs_engine:
        engine.start()
    try:
        async with Running(
            reloading.current, MAX_HEADER_BYTES, settings, listening, on_hangup=reloading.ask
        ) as running:
            announce(config)
            say_listening([one.getsockname() for one in listening], config)
            reloading.start()
            await running.stop.wait()
            if ledger is not None:
                ledger.refuse_waiting()
    finally:
        if shared:
            await shared.stop()
        if ledger is not None:
            await ledger.close()
        if claim:
            claim.close()
        await reloading.close()
        await close(tracing)


async def _behind_the_edge(launch: Launch) -> None:
    """Serve the config until the edge has sent another one."""
    config, path, settings, environment, listening = launch
    from ..proxy.catalog import catalog  # a standalone proxy does not need it

    assert settings.internal_token is not None
    tracing = tracing_of(settings)
    router = router_for(config)
    price_book = PriceBook(
        config, router, default_max_output=settings.default_max_output, min_output=settings.min_output
    )
    instance = instance_of(settings.internal_token)
    journal = Journal(instance, attempts=settings.internal_protocol >= READS_ATTEMPTS)
    accounting = EdgeAccounting(price_book, instance, journal)
    engine = Engine(config, config.environment, start_timeout=settings.engine_start_timeout)
    hashed = catalog(load(path, {}))["hash"] if config.deployments else ""
    failed_auth = count_failed_keys(settings.failed_keys_per_minute)
    first = Gateway(config, settings, router, engine, accounting, failed_auth, catalog=hashed, tracing=tracing)
    if config.needs_engine:
        engine.start()
    url = redis_url(config.environment)
    shared = SharedCooldowns(router, url) if url else None

    async def made(given: GivenConfiguration, before: Gateway) -> Gateway:
        """Raises ConfigError, SettingsError or CannotServe."""
        nonlocal shared
        others = {name: value for name, value in environment.items() if name not in given.variables}
        surroundings = {**others, **given.environment}
        new = await asyncio.to_thread(loads, given.file, given.document, surroundings, path)
        its_settings = read_settings(new.environment)
        for reason in reasons_not_to_serve(its_settings, new):
            raise CannotServe(reason)
        its_router = router_for(new, before.router, before.config)
        its_price_book = PriceBook(
            new, its_router, default_max_output=its_settings.default_max_output, min_output=its_settings.min_output
        )
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
        announce(new)
        log.info("config_given", config=new.name, models=len(new.groups), engine=its_engine.state)
        gateway = Gateway(
            new,
            its_settings,
            its_router,
            its_engine,
            accounting.under(its_price_book),
            failed_auth,
            catalog=given.catalog,
            tracing=tracing,
        )
        calm_garbage_collector()
        return gateway

    configurations = Configurations(
        first, Authenticator(settings, None, ()), made, given=settings.internal_protocol >= GIVES_CONFIGURATION
    )
    if shared:
        shared.start()
    try:
        async with Running(
            configurations, MAX_HEADER_BYTES_OF_THE_EDGE, settings, listening, on_hangup=_not_here
        ) as running:
            if config.deployments:
                announce(config)
            say_listening([one.getsockname() for one in listening], config)
            await running.stop.wait()
            await configurations.finish(settings.shutdown_grace, running.at_once)
    finally:
        if shared:
            await shared.stop()
        await configurations.close()
        await close(tracing)


def _not_here() -> None:
    log.warning(
        "config_not_reloaded", effect="Behind the edge the config comes from the Worker. Deploy the Worker again."
    )


def check(path: Path, environment: Mapping[str, str]) -> int:
    """Return the exit code: 1 if the proxy would not start."""
    config: Config | None = None
    found: settings.Settings | None = None
    try:
        config = load(path, environment)
    except ConfigError as error:
        for problem in error.problems:
            _complain(str(problem))
    try:
        found = settings.read(environment if config is None else config.environment)
    except settings.SettingsError as error:
        for problem in error.problems:
            _complain(f"environment: error: {problem}")
    if config is None:
        return 1
    failed = found is None
    if found is not None and config.options.slack_alerts and not found.slack_webhook_url:
        _complain(f"environment: warning: {NO_SLACK}")
    for problem in config.problems:
        _complain(str(problem))
    for reason in reasons_not_to_serve(found, config) if found is not None else ():
        failed = True
        _complain(f"environment: error: {reason}")
    if found is not None and keeps_ledger(found):
        failed |= _say_place(found, config)
    _say_models(config)
    return int(failed)


def _say_place(found: settings.Settings, config: Config) -> bool:
    """Report problems with the ledger's location. Return whether they would prevent a start."""
    path = ledger_file(found)
    trouble = ledger_unusable(found)
    if trouble and requires_ledger(found, config.options):
        _complain(f"environment: error: {trouble}")
        return True
    if trouble:
        _complain(f"environment: warning: {trouble} {NO_LEDGER}")
    lost = ephemeral_mount(path) if path and not trouble else None
    if lost:
        _complain(f"environment: warning: {lost}")
    return False


def _say_models(config: Config) -> None:
    on = [name for name, members in config.groups.items() if any(not d.off for d in members)]
    print(f"{len(on)} of {len(config.groups)} models are on: {', '.join(on) or 'none'}")
    for name, members in config.groups.items():
        if name not in on:
            wanted = sorted({need.replace("|", " or ") for d in members for need in d.off})
            print(f"off: {name} (set {', '.join(wanted)})")
    if config.options.has_budget:
        unpriced = PriceBook(config, Router(config), default_max_output=1).unpriced(config)
        if unpriced:
            print(f"without a price: {', '.join(unpriced)} ({UNPRICED})")
    if config.needs_engine:
        print("The translation engine (LiteLLM) is started for: " + ", ".join(_through_engine(config.deployments)))
        if not packages_installed():
            print("Its packages are not installed yet.")


def _through_engine(deployments: Iterable[Deployment]) -> list[str]:
    return list(dict.fromkeys(d.group for d in deployments if d.kind == "engine" and not d.off))


def _complain(text: str) -> None:
    print(text, file=sys.stderr)
