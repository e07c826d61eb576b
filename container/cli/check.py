"""`litellm-router check`: reports all problems with the config and the environment at once."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..accounting.price_book import PriceBook
from ..config.deployment import Deployment
from ..config.document import ConfigError
from ..config.load import Config, load
from ..engine import packages_installed
from ..proxy.startup import (
    NO_LEDGER,
    NO_SLACK,
    UNPRICED,
    ephemeral_mount,
    keeps_ledger,
    ledger_file,
    ledger_unusable,
    reasons_not_to_serve,
    requires_ledger,
)
from ..routing.router import Router
from ..server import settings


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
