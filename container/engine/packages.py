"""The engine's packages: LiteLLM and what it imports.

The image has them, as has an installation with the extra `engine`. A checkout that was set up for `just dev` fetches
them, with hashes, when a model first needs the engine.
"""

import asyncio
import importlib
import importlib.util
import os
import signal
import sys
from pathlib import Path

from ..observability import log

_CHECKOUT = Path(__file__).resolve().parents[2]
# Written by dev/setup.py: the level that is installed, and a digest.
_STAMP = _CHECKOUT / ".venv" / ".litellm-router-setup"
_EXTRA = "install them with: pip install 'litellm-router[engine]'"
# What a package installer reads of the environment. Our keys are none of its business.
_NEEDED = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_NEEDED_PREFIXES = ("UV_", "XDG_", "LC_")
_NEEDED_SUFFIXES = ("_proxy", "_PROXY")


class PackagesMissing(Exception):
    """The engine's packages are not installed. The message says why and what to do."""


def installed() -> bool:
    """Whether the engine can start. In a checkout, the stamp tells a complete installation from an interrupted one."""
    if _fetches():
        return not _STAMP.read_text(encoding="utf-8").startswith("gateway ")
    importlib.invalidate_caches()
    return importlib.util.find_spec("litellm") is not None


async def fetch() -> None:
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
