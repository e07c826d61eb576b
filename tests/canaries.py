"""Secrets that no proxy of the test run may leak.

When a proxy ends or is killed, its log, ledger file, health, metrics and child processes are searched for its own
secrets and for the texts sent through it. Databases, Redis and the headers of all responses are searched for the
secrets of every proxy. A leak fails the test that is running.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_NAMES = re.compile(r"KEY|TOKEN|PASSWORD|SECRET|CREDENTIALS")
_SETTINGS = ("api_key", "master_key", "key")
_SHORTEST = 8
# The format of the ledger's keys.
VIRTUAL_KEY = re.compile(rb"sk-[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")
# Texts that tests send, and that the fakes echo.
SPOKEN = (b"Hello there", b"hello out there")
# The secrets of all proxies started so far.
planted: set[bytes] = set()
# Variables of the proxy that its children must not inherit.
OURS_ALONE = ("LITELLM_MASTER_KEY", "INTERNAL_TOKEN", "DATABASE_URL", "REDIS_URL", "REDIS_PASSWORD")


def secrets_of(environment: Mapping[str, str], config: Any = None) -> set[bytes]:
    """The keys, tokens and passwords in an environment and in a config."""
    found = {value for name, value in environment.items() if _NAMES.search(name)}
    for value in environment.values():
        if "://" in value and "@" in value:
            found.add(urlsplit(value).password or "")
    found.update(_in_config(config))
    return {value.encode() for value in found if len(value) >= _SHORTEST}


def leaks(data: bytes, secrets: Iterable[bytes], *, spoken: Iterable[bytes] = SPOKEN) -> list[str]:
    """The secrets, virtual keys and spoken texts found in the data."""
    found = [one.decode() for one in (*secrets, *spoken) if one in data]
    return found + [one.decode() for one in VIRTUAL_KEY.findall(data)]


def refuse_leaks(where: str, data: bytes, secrets: Iterable[bytes], *, spoken: Iterable[bytes] = SPOKEN) -> None:
    found = leaks(data, secrets, spoken=spoken)
    assert not found, f"{where} holds {found}"


def children_leaks(proxy: int, environment: Mapping[str, str], secrets: Iterable[bytes]) -> list[str]:
    """Secrets on the command lines of a proxy and its children, and the proxy's own variables in its children's
    environments.
    """
    ours = [environment[name].encode() for name in OURS_ALONE if len(environment.get(name, "")) >= _SHORTEST]
    found = []
    for pid in _family(proxy):
        line, around = _read(pid, "cmdline"), _read(pid, "environ")
        found += [f"{one.decode()} on the command line of {line!r}" for one in secrets if one in line]
        if pid != proxy:
            found += [f"{one.decode()} in the environment of {line!r}" for one in ours if one in around]
    return found


def _in_config(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in _SETTINGS and isinstance(inner, str) and not inner.startswith("os.environ/"):
                yield inner
            else:
                yield from _in_config(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _in_config(inner)
    elif isinstance(value, str) and "://" in value and "@" in value:
        yield urlsplit(value).password or ""


def _family(pid: int) -> list[int]:
    """A process and all its descendants, including those in other sessions."""
    found = [pid]
    for one in found:
        for tasks in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in _text(tasks).split()]
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
