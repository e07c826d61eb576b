"""`litellm-router serve` behind the edge, which keeps the ledger and sends the configuration."""

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path

from worker.core.protocol import GIVES_CONFIGURATION, READS_ATTEMPTS, GivenConfiguration, instance_of

from ..accounting.edge import EdgeAccounting, Journal
from ..accounting.price_book import PriceBook
from ..config.document import CannotServe
from ..config.load import Config, load, loads
from ..config.response_cache import redis_url
from ..engine import Engine, same_engine
from ..observability import log
from ..proxy.catalog import catalog
from ..proxy.configurations import Configurations
from ..proxy.gateway import Gateway, router_for
from ..proxy.process import Running, announce, calm_garbage_collector, close, say_listening, tracing_of
from ..proxy.startup import reasons_not_to_serve
from ..routing.shared_health import SharedCooldowns
from ..server.auth import Authenticator, count_failed_keys
from ..server.http import MAX_HEADER_BYTES_OF_THE_EDGE
from ..server.settings import Settings
from ..server.settings import read as read_settings


async def behind_the_edge(
    config: Config,
    path: Path,
    settings: Settings,
    environment: Mapping[str, str],
    listening: list[socket.socket],
) -> None:
    """`config`: served until the edge has sent another one."""
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
