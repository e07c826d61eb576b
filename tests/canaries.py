"""Secrets that no proxy of the whole test run may let out: each one's log, ledger file, health, metrics and child
processes are searched for what that very one was given, and for what was said through it, when it ends or is killed.
Databases, Redis and the headers of all answers are searched for what any of them was given. What is found fails the
test that was running.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_NAMES = re.compile(r"KEY|TOKEN|PASSWORD|SECRET|CREDENTIALS")
_SETTINGS = ("api_key", "master_key", "key")
_SHORTEST = 8
# As the ledger makes them.
VIRTUAL_KEY = re.compile(rb"sk-[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")
# What tests ask, and what the fakes answer by repeating it.
SPOKEN = (b"Hello there", b"hello out there")
# The secrets that proxies have been started with so far.
planted: set[bytes] = set()
# What is the proxy's alone; its children have no business with it.
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
    """Which of the secrets, virtual keys and spoken words are in the data."""
    found = [one.decode() for one in (*secrets, *spoken) if one in data]
    return found + [one.decode() for one in VIRTUAL_KEY.findall(data)]


def refuse_leaks(where: str, data: bytes, secrets: Iterable[bytes], *, spoken: Iterable[bytes] = SPOKEN) -> None:
    found = leaks(data, secrets, spoken=spoken)
    assert not found, f"{where} holds {found}"


def children_leaks(proxy: int, environment: Mapping[str, str], secrets: Iterable[bytes]) -> list[str]:
    """Secrets on the command lines of a proxy and its children, and what is its alone in their environments."""
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
    """A process and all that descend from it, sessions of their own among them."""
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
