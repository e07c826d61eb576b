"""What the bench wants to know of a gateway: how to install it, start it and ask it."""

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..processes import Process

MASTER_KEY = "sk-bench-master-key-of-32-characters"
PROVIDER_KEY = "sk-bench-provider-key"
START_SECONDS = 120.0


class Unavailable(Exception):
    """Why a gateway cannot be measured here, in one sentence."""


@dataclass
class Running:
    """A gateway that answers. `parts`: processes whose CPU is shown apart, by name. `started`: seconds to healthy."""

    chat_url: str
    model: str
    headers: Mapping[str, str]
    process: Process | None
    started: float = 0.0
    parts: Mapping[str, int] = field(default_factory=dict)


class Gateway(ABC):
    """`features`: what it does for each request here, so that nobody compares unlike things unknowingly."""

    name: str
    title: str
    features: str

    def install(self, cache: Path) -> str:
        """Puts it below `cache` unless it is there; its version. Raises Unavailable."""
        return ""

    @abstractmethod
    def start(self, provider: str, directory: Path) -> Running:
        """Starts it in front of the provider (an URL that ends in /v1). Raises DidNotStart or Unavailable.

        `directory`: its own, for configuration and log.
        """


def run_installer(command: Sequence[str], seconds: float, directory: Path | None = None) -> None:
    """Runs a package manager. Raises Unavailable with the end of what it said."""
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"it cannot be installed: {error}") from None
    if done.returncode:
        raise Unavailable(f"it cannot be installed: {(done.stderr or done.stdout).strip()[-400:]}")


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
