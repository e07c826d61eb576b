"""The engine: LiteLLM's proxy as a child process on loopback, started on first use and restarted when it dies.

Its configuration is generated from the user's: each deployment gets a unique `model_name` (its id), secrets remain
`os.environ/…` references, and router settings and retries are off. Its packages are in the image, as in an installation
with the extra `engine`. A checkout that was set up for `just dev` fetches them, with hashes, when a model first needs
the engine.

States: idle → starting → running. After a death it returns to starting, with growing pauses between attempts. Requests
that need the engine wait for it; others are not affected.
"""

import asyncio
import ctypes
import importlib
import importlib.util
import json
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from .config import observability
from .config.deployment import OUTPUT_LIMITS, Deployment
from .config.document import REFERENCE
from .config.load import Config
from .config.providers import DIRECT, JSON, Address, origin
from .observability import log, metrics
from .observability.log import hide_secrets
from .server.settings import VARIABLES

# Its configuration.

MASTER_KEY_VARIABLE = "LITELLM_ROUTER_ENGINE_KEY"

_NO_KEY = "none"

# litellm_params that the proxy handles itself. The engine must not apply them again.
_OURS = (
    "rpm",
    "tpm",
    "weight",
    "timeout",
    "stream_timeout",
    "max_retries",
    "num_retries",
    "max_parallel_requests",
    "order",
)

# Variables that the engine never sees: the proxy's own, and those that LiteLLM's command takes for options. OTEL_*
# variables are passed on because its `otel` callback reads them, too, and so are those of HTTP proxies.
_PASSED_ON = ("OTEL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_WITHHELD = {v.name for v in VARIABLES if not v.name.upper().startswith(_PASSED_ON)} | set(
    """
    DIRECT_URL IAM_TOKEN_DB_AUTH AZURE_POSTGRESQL_AUTH USE_V2_MIGRATION_RESOLVER LITELLM_SALT_KEY
    CONFIG_FILE_PATH WORKER_CONFIG LITELLM_CONFIG LITELLM_WORKER_STARTUP_HOOKS USE_AWS_KMS
    HOST DEBUG DETAILED_DEBUG NUM_WORKERS GRANIAN_RUNTIME_THREADS SSL_KEYFILE_PATH SSL_CERTFILE_PATH
    SERVER_ROOT_PATH SERVER_ROOT_PATHS KEEPALIVE_TIMEOUT TIMEOUT_WORKER_HEALTHCHECK LIMIT_CONCURRENCY
    MAX_REQUESTS_BEFORE_RESTART MAX_REQUESTS_BEFORE_RESTART_JITTER PROMETHEUS_METRICS_PORT PROMETHEUS_MULTIPROC_DIR
    """.split()
)
_WITHHELD_PREFIXES = ("REDIS_", "DATABASE_", "LITELLM_CONFIG_BUCKET_")
# Make LiteLLM use the copies in its package instead of downloading these.
_USE_WHAT_IT_SHIPS = (
    "LITELLM_LOCAL_MODEL_COST_MAP",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS",
    "LITELLM_LOCAL_BLOG_POSTS",
    "LITELLM_LOCAL_POLICY_TEMPLATES",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS",
)


def same_engine(one: Config, other: Config) -> bool:
    """Whether the engine of one configuration can serve the other."""
    return engine_configuration(one) == engine_configuration(other) and one.environment == other.environment


def engine_configuration(config: Config) -> str:
    """Return the YAML for `litellm --config`, with every deployment that is on and not a mock."""
    content: dict[str, Any] = {
        "model_list": [_model(d) for d in config.deployments if not d.off and d.kind != "mock"],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "litellm_settings": {
            "num_retries": 0,
            "telemetry": False,
            "disable_hf_tokenizer_download": True,
            "drop_params": config.options.drop_params,
            **config.options.engine_settings,
        },
        **config.options.engine_sections,
        "general_settings": {
            "master_key": f"os.environ/{MASTER_KEY_VARIABLE}",
            "cancel_on_disconnect": True,
            "disable_spend_logs": True,
            # Otherwise LiteLLM lists every provider's models with our keys, at startup and every five minutes.
            "disable_model_info_refresh": True,
        },
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _model(d: Deployment) -> dict[str, Any]:
    params = {name: value for name, value in d.params.items() if name not in _OURS and name not in OUTPUT_LIMITS}
    extra = params.get("extra_body")
    if isinstance(extra, dict) and not OUTPUT_LIMITS.isdisjoint(extra):
        # Each request carries its own output limit. One in the engine's config would override it.
        params["extra_body"] = {k: v for k, v in extra.items() if k not in OUTPUT_LIMITS}
    params["max_retries"] = 0
    if _is_strangers(d):
        params["api_key"] = _NO_KEY
    name = f"{d.id}/*" if d.wildcard and "*" in str(params["model"]) else d.id
    return {"model_name": name, "litellm_params": params, "model_info": {**d.info, "id": d.id}}


def callback_modules(config: Config) -> list[Path]:
    """Return the user's Python files beside the config, if a setting refers to a function in them.

    LiteLLM imports modules from its config's directory, and those may import others.
    """
    options = config.options
    named = [*observability.named_callbacks(options.engine_settings)]
    named += [
        str((one.get("litellm_params") or {}).get("guardrail")) for one in options.engine_sections.get("guardrails", ())
    ]
    named += [str(one.get("custom_handler")) for one in options.engine_settings.get("custom_provider_map") or ()]
    packages = [config.folder / name for name in observability.callback_modules(named)]
    if not any(path.exists() or path.with_suffix(".py").exists() for path in packages):
        return []
    return [*sorted(config.folder.glob("*.py")), *(path for path in packages if path.is_dir())]


def _is_strangers(d: Deployment) -> bool:
    """Whether a deployment has a custom address but no key. LiteLLM would send the provider's default key there."""
    direct = DIRECT.get(d.provider)
    base = d.params.get("api_base") or d.params.get("base_url")
    if direct is None or not direct.base or not direct.key_variables or "api_key" in d.params or not base:
        return False
    if d.kind == "direct":
        return d.api_key is None
    return not str(base).startswith(REFERENCE) and origin(str(base)) != origin(direct.base)


def engine_environment(own: Mapping[str, str], key: str) -> dict[str, str]:
    """Return the engine's environment, without the proxy's own variables and with telemetry and downloads off."""
    kept = {
        name: value
        for name, value in own.items()
        if name not in _WITHHELD and not name.startswith(_WITHHELD_PREFIXES) and value
    }
    return {
        **kept,
        MASTER_KEY_VARIABLE: key,
        **dict.fromkeys(_USE_WHAT_IT_SHIPS, "True"),
        "LITELLM_TELEMETRY": "False",
        "LITELLM_MODE": "PRODUCTION",  # otherwise it reads any .env file that it finds
        "LITELLM_LOG": own.get("LITELLM_LOG", "ERROR"),
        "NO_DOCS": "True",
        "DISABLE_ADMIN_UI": "True",
        "PYTHONUNBUFFERED": "1",
    }


# Its packages.

_CHECKOUT = Path(__file__).resolve().parents[1]
# Written by dev/setup.py: the level that is installed, and a digest.
_STAMP = _CHECKOUT / ".venv" / ".litellm-router-setup"
_EXTRA = "install them with: pip install 'litellm-router[engine]'"
# What a package installer reads of the environment. Our keys are none of its business.
_NEEDED = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_NEEDED_PREFIXES = ("UV_", "XDG_", "LC_")
_NEEDED_SUFFIXES = ("_proxy", "_PROXY")


class PackagesMissing(Exception):
    """The engine's packages are not installed. The message says why and what to do."""


def packages_installed() -> bool:
    """Whether the engine can start. In a checkout, the stamp tells a complete installation from an interrupted one."""
    if _fetches():
        return not _STAMP.read_text(encoding="utf-8").startswith("gateway ")
    importlib.invalidate_caches()
    return importlib.util.find_spec("litellm") is not None


async def fetch_packages() -> None:
    """Install the packages and log the progress. Raises PackagesMissing."""
    if not _fetches():
        raise PackagesMissing(f"its packages are not installed; {_EXTRA}")
    log.info("engine_packages", progress="A model needs the engine: its packages are fetched, this once.")
    child = await asyncio.create_subprocess_exec(
        *(str(_CHECKOUT / "dev" / "setup"), "engine"),
        env={name: value for name, value in os.environ.items() if _is_needed(name)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stderr is not None
    lines: list[str] = []
    try:
        async for line in child.stderr:
            lines.append(line.decode("utf-8", "replace").rstrip())
            log.info("engine_packages", progress=lines[-1])
        code = await child.wait()
    except asyncio.CancelledError:
        os.killpg(child.pid, signal.SIGTERM)
        raise
    if code:
        said = next((line for line in lines if line.startswith("setup: ")), f"dev/setup ended with {code}")
        reason = said.removeprefix("setup: ").removesuffix(" It said:").rstrip(".")
        raise PackagesMissing(f"its packages could not be fetched: {reason}")


def _fetches() -> bool:
    """Whether this is a checkout in the environment that its dev/setup has made."""
    return Path(sys.prefix).resolve() == _STAMP.parent.resolve() and _STAMP.exists()


def _is_needed(name: str) -> bool:
    return name in _NEEDED or name.startswith(_NEEDED_PREFIXES) or name.endswith(_NEEDED_SUFFIXES)


# Its process.

POLL_SECONDS = 0.25
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
# After running this long, a death does not count as part of a crash loop.
SETTLED_SECONDS = 60.0
STOP_SECONDS = 5.0
# A start takes 45 s on a quarter of a core without bytecode. After this long it has failed.
LONGEST_START_SECONDS = 180.0
# How long to wait for remaining output after the engine has died.
OUTPUT_SECONDS = 1.0
# Far longer than the client keeps an idle connection. LiteLLM's own limit of 5 s is shorter than that, so a request
# could be sent on a connection that the engine was closing at that moment.
IDLE_CONNECTION_SECONDS = 300
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1
CREDENTIALS = "GOOGLE_APPLICATION_CREDENTIALS"


class EngineUnavailable(Exception):
    """The engine is not available. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def engine_address(port: int, key: str) -> Address:
    """Return the engine's address on loopback."""
    return Address(f"http://127.0.0.1:{port}/v1", {**JSON, "authorization": f"Bearer {key}"})


class Engine:
    """Keeps at most one child process alive.

    `own`: the proxy's environment. `start_timeout`: seconds that a request waits for the engine. `command`: replaces
    the installed `litellm` in tests. `on_change` is called when the state has changed.
    """

    def __init__(
        self, config: Config, own: Mapping[str, str], *, start_timeout: float, command: Sequence[str] | None = None
    ) -> None:
        self._config = config
        self._command = command
        self._own = own
        self._start_timeout = start_timeout
        self._keeper: asyncio.Task | None = None
        self.on_change: Callable[[], None] = lambda: None
        self._running = asyncio.Event()
        self._settled = asyncio.Event()  # it is running or pausing, so there is nothing to wait for
        self._address: Address | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._last_death = ""
        self._again_at = 0.0
        self._pausing = False
        self._fetching = False

    @property
    def state(self) -> str:
        """`idle`, `starting` or `running`."""
        if self._running.is_set():
            return "running"
        return "idle" if self._keeper is None else "starting"

    @property
    def address(self) -> Address | None:
        """None while it is not running."""
        return self._address if self._running.is_set() else None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child and self._child.returncode is None else None

    def start(self) -> None:
        """Start the engine and keep it running. Returns at once. Further calls do nothing."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
            self.on_change()

    async def ready(self, patience: float) -> Address:
        """Return the engine's address once it responds.

        Raises EngineUnavailable after the start timeout or `patience` seconds, whichever is shorter, and at once during
        the pause after a crash.
        """
        if self._running.is_set() and self._address:
            return self._address
        self.start()
        if self._pausing:
            raise self._unavailable()
        try:
            await asyncio.wait_for(self._settled.wait(), min(self._start_timeout, patience * 0.95))
        except TimeoutError:
            raise self._unavailable() from None
        if not self._running.is_set():
            raise self._unavailable()
        assert self._address is not None
        return self._address

    def _unavailable(self) -> EngineUnavailable:
        wait = max(1.0, self._again_at - time.monotonic())
        if self._pausing:
            return EngineUnavailable(
                f"The translation engine {self._last_death}; it starts again in {wait:.0f} s.", wait
            )
        if self._fetching:
            return EngineUnavailable("The translation engine's packages are being fetched, this once.", 10.0)
        return EngineUnavailable("The translation engine is still starting.", 5.0)

    async def stop(self) -> None:
        """Stop the engine and do not restart it."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None

    async def _keep(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        with tempfile.TemporaryDirectory(prefix="litellm-engine-") as folder:
            while True:
                began = time.monotonic()
                try:
                    if self._command is None and not packages_installed():
                        await self._fetch_packages()
                    await self._run_once(Path(folder))
                except PackagesMissing as error:
                    self._last_death = f"could not be started: {error}"
                except OSError as error:
                    self._last_death = f"could not be started ({error.strerror})"
                except json.JSONDecodeError:
                    self._last_death = f"could not be started ({CREDENTIALS} is neither a path nor valid JSON)"
                self._running.clear()
                self._settled.clear()
                lived = time.monotonic() - began
                pause = FIRST_PAUSE_SECONDS if lived > SETTLED_SECONDS else pause
                metrics.engine_restarts.add()
                log.error("engine_died", reason=self._last_death, lived_seconds=round(lived, 1), pause_seconds=pause)
                self._again_at = time.monotonic() + pause
                self._pausing = pause > FIRST_PAUSE_SECONDS
                if self._pausing:
                    self._settled.set()
                await asyncio.sleep(pause)
                self._pausing = False
                self._settled.clear()
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _fetch_packages(self) -> None:
        self._fetching = True
        try:
            await fetch_packages()
        finally:
            self._fetching = False

    async def _run_once(self, folder: Path) -> None:
        """Run the child process until it dies."""
        key, port = "sk-engine-" + secrets.token_hex(24), _free_port()
        path = folder / "config.yaml"
        _write_private(path, engine_configuration(self._config))
        for module in callback_modules(self._config):
            link = folder / module.name
            if not link.is_symlink():
                link.symlink_to(module)
        surroundings = engine_environment(self._own, key)
        credentials = surroundings.get(CREDENTIALS, "").strip()
        if credentials.startswith("{"):
            json.loads(credentials)
            _write_private(folder / "google.json", credentials)
            surroundings[CREDENTIALS] = str(folder / "google.json")
        began = time.monotonic()
        child = await asyncio.create_subprocess_exec(
            *(self._command or _command()),
            *("--config", str(path), "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"),
            *("--keepalive_timeout", str(IDLE_CONNECTION_SECONDS)),
            cwd=folder,
            env=surroundings,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        self._child = child
        log.info("engine_starting", pid=child.pid)
        tail: list[str] = []
        reading = asyncio.create_task(_read_output(child, tail))
        address = engine_address(port, key)
        try:
            if await self._comes_up(child, address):
                log.info("engine_running", pid=child.pid, start_seconds=round(time.monotonic() - began, 1))
                self._address = address
                self._running.set()
                self._settled.set()
                self.on_change()
            else:
                _signal_group(child.pid, signal.SIGKILL)
            await child.wait()
            started = self._running.is_set()
            self._running.clear()
            self.on_change()
            self._settled.clear()
            self._last_death = f"ended with exit code {child.returncode}"
            # Processes that it started may hold its output open.
            _signal_group(child.pid, signal.SIGKILL)
            await asyncio.wait((reading,), timeout=OUTPUT_SECONDS)
            if not started and tail:
                log.error("engine_output", lines=[hide_secrets(line) for line in tail[-20:]])
        finally:
            self._running.clear()
            self._settled.clear()
            reading.cancel()
            await _end(child)

    async def _comes_up(self, child: asyncio.subprocess.Process, address: Address) -> bool:
        """Wait until the engine responds. Return False if it neither responds nor exits, so that another is started."""
        limit = max(LONGEST_START_SECONDS, 2 * self._start_timeout)
        try:
            return await asyncio.wait_for(_answers(child, address), limit)
        except TimeoutError:
            log.error("engine_never_answered", pid=child.pid, seconds=limit)
            return False


def _die_with_parent() -> None:
    """Run in the child before exec: ask Linux to kill it if the proxy is killed.

    https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _command() -> list[str]:
    """Return the `litellm` command of this Python environment."""
    beside = Path(sys.executable).parent / "litellm"
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "litellm.proxy.proxy_cli"]


async def _answers(child: asyncio.subprocess.Process, address: Address) -> bool:
    """Wait until the engine itself responds on its port. Return False if it dies first."""
    ready, models = address.base.removesuffix("/v1") + "/health/readiness", address.base + "/models"
    strangers = {"authorization": "Bearer sk-" + secrets.token_hex(24)}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:

        async def says_yes(url: str, headers: Mapping[str, str]) -> bool:
            async with session.get(url, headers=headers) as response:
                return response.status == 200

        while child.returncode is None:
            try:
                # Another process that took the port first would not know the engine's key.
                if (
                    await says_yes(ready, {})
                    and await says_yes(models, address.headers)
                    and not await says_yes(models, strangers)
                ):
                    return True
            except (aiohttp.ClientError, TimeoutError):
                pass  # not listening yet
            await asyncio.sleep(POLL_SECONDS)
    return False


async def _read_output(child: asyncio.subprocess.Process, tail: list[str]) -> None:
    """Keep the last lines in case the engine fails to start. The rest is dropped because it may quote prompts."""
    assert child.stdout is not None
    while True:
        try:
            line = await child.stdout.readline()
        except ValueError:
            continue  # longer than the buffer
        if not line:
            return
        tail.append(line.decode("utf-8", "replace").rstrip()[:500])
        del tail[:-50]


async def _end(child: asyncio.subprocess.Process) -> None:
    """End the child and all processes that it started."""
    if child.returncode is None:
        _signal_group(child.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(child.wait(), STOP_SECONDS)
        except TimeoutError:
            log.warning("engine_killed", pid=child.pid)
    _signal_group(child.pid, signal.SIGKILL)
    await child.wait()


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
