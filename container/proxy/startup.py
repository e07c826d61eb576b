"""Before a configuration serves: the reasons not to accept it, because it would be unsafe or could not work; where its
ledger is stored; and its ledger and accounting.
"""

import fcntl
import os
import re
import tempfile
from pathlib import Path

from worker.core.api.auth import WELL_KNOWN_KEY, same_secret
from worker.core.ledger.declared import AnyDeclared

from ..accounting.accounting import Accounting, NoAccounting
from ..accounting.ledger import Ledger, LocalLedger
from ..accounting.reservation import PriceBook
from ..config.document import CannotServe
from ..config.load import Config, Options
from ..observability import log
from ..records.request_log import cannot_write
from ..routing.router import Router
from ..server.auth import is_loopback
from ..server.settings import Settings
from ..stores import PostgresStore, SqliteStore, Store

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


# Where the ledger is stored, and whether that location is usable.

# The default location. In the image it is a link to /data.
DEFAULT_PATH = ".litellm-router/ledger.db"
# The LEDGER_PATH of a ledger that lives in memory.
MEMORY = ":memory:"
# A container's own layer is lost when it is replaced, an in-memory file system when the machine restarts.
_CONTAINERS = frozenset(("overlay", "fuse-overlayfs", "aufs"))
_FLEETING = _CONTAINERS | {"tmpfs", "ramfs"}
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")


class NoLedger(Exception):
    """The ledger cannot be stored in the configured location. The message says what to do."""


class Claim:
    """A lock on a ledger file. `alone` is True if no other process holds it. Released when the process exits."""

    def __init__(self, path: Path) -> None:
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.alone = True
        except OSError:
            self.alone = False

    def close(self) -> None:
        os.close(self._lock)


def keeps_ledger(settings: Settings) -> bool:
    """Whether this process keeps a ledger, which every standalone proxy does."""
    return not settings.internal_token


def requires_ledger(settings: Settings, options: Options) -> bool:
    """Whether the proxy must not start without a ledger: a location is set, or the config has budgets or keys."""
    return bool(settings.ledger_path or settings.database_url) or options.needs_ledger


def ephemeral_mount(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """Explain why data at this path will be lost, or return None if it will not or if that is unknown.

    `mounts`: Linux's list of file systems, in the format of proc_pid_mountinfo(5).
    """
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return None
    place = path.parent.resolve()
    best, kind = -1, ""
    for line in lines:
        left, _, right = line.partition(" - ")
        point = Path(_ESCAPED.sub(lambda m: chr(int(m[1], 8)), left.split()[4]))
        if (place == point or point in place.parents) and len(point.parts) >= best:
            best, kind = len(point.parts), right.split()[0]
    if kind not in _FLEETING:
        return None
    lost = "it is replaced" if kind in _CONTAINERS else "the machine or the container starts anew"
    whose = "the container's own disk" if kind in _CONTAINERS else "in memory"
    return (
        f"{place} is {whose}: keys and spending are lost when {lost}. Put a volume there, or set LEDGER_PATH to a file "
        "on a disk that stays, or DATABASE_URL."
    )


def ledger_unusable(settings: Settings) -> str | None:
    """Return the error that `prepare` would raise, or None, without changing anything."""
    path = ledger_file(settings)
    if path is None:
        return None
    found = path.parent
    while not found.exists() and found != found.parent:
        found = found.parent
    if found.is_dir() and os.access(found, os.W_OK | os.X_OK):
        return None
    return _cannot(path, "It cannot be written")


def ledger_file(settings: Settings) -> Path | None:
    """Return the ledger's file, or None if it has none."""
    if settings.database_url or settings.ledger_path == MEMORY:
        return None
    return Path(settings.ledger_path or DEFAULT_PATH).absolute()


def prepare_ledger_file(settings: Settings) -> Path | None:
    """Create the directory of the ledger's file. Return the file, or None if there is none. Raises NoLedger."""
    path = ledger_file(settings)
    if path is None:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise NoLedger(_cannot(path, error.strerror or str(error))) from None
    return path


def _cannot(path: Path, why: str) -> str:
    return (
        f"The ledger cannot be kept in {path.parent}: {why}. Set LEDGER_PATH to a file in a directory that can be "
        "written, or DATABASE_URL."
    )


def _store(settings: Settings, path: Path | None) -> Store:
    if settings.database_url:
        return PostgresStore(settings.database_url)
    return SqliteStore(path or MEMORY)


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
    if not keeps_ledger(settings):
        return None, None
    try:
        path = prepare_ledger_file(settings)
        claim = Claim(path) if path else None
    except (NoLedger, OSError) as error:
        if requires_ledger(settings, config.options):
            raise CannotServe(str(error)) from None
        log.warning("no_ledger", reason=str(error), effect=NO_LEDGER)
        return None, None
    lost = ephemeral_mount(path) if path else None
    if lost:
        log.warning("ledger_ephemeral", effect=lost)
    if claim and not claim.alone:
        log.warning("ledger_shared", effect="Another proxy on this machine uses the same ledger file.")
    if config.options.slack_alerts and not settings.slack_webhook_url:
        log.warning("setting_ignored", reason=NO_SLACK)
    return claim, LocalLedger(
        _store(settings, path),
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
