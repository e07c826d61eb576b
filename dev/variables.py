"""The Worker's variables on a developer's machine: `.dev.vars`, overridden by the environment."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from worker.core.sign_in import settings as sign_in

MASTER_KEY = "LITELLM_MASTER_KEY"
WELL_KNOWN_KEY = "sk-1234"
# Variables that the Worker reads in addition to wrangler.jsonc's "vars".
_OPTIONAL = (
    *sign_in.VARIABLES,
    "ALERT_WEBHOOK_URL",
    "BUDGET_PATIENCE",
    "CORS_ALLOW_ORIGINS",
    "DEFAULT_MAX_OUTPUT",
    "JWT_AUDIENCE",
    "JWT_ISSUER",
    "JWT_LEEWAY",
    "JWT_PUBLIC_KEY",
    "JWT_PUBLIC_KEY_URL",
    "LITELLM_SALT_KEY",
    "MIN_OUTPUT",
    "PUBLIC_MODELS",
    "SLACK_WEBHOOK_URL",
    "SPEND_LOG_RETENTION_DAYS",
)
_LINE = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][\w.-]*)[ \t]*=[ \t]*"""
    r"""(?:'(?P<single>[^']*)'|"(?P<double>(?:\\.|[^"\\])*)"|(?P<bare>[^\n#]*))[ \t]*(?:\#[^\n]*)?$""",
    re.MULTILINE,
)
_ESCAPES = {"\\n": "\n", "\\r": "\r", "\\t": "\t"}


def parse_dotenv(text: str) -> dict[str, str]:
    """`NAME=value`, `NAME='as it is'`, `NAME="with\\nescapes"`; quoted values may span lines. `#` starts a comment."""
    found: dict[str, str] = {}
    for match in _LINE.finditer(text.replace("\r\n", "\n")):
        if match["double"] is not None:
            value = re.sub(r"\\.", lambda m: _ESCAPES.get(m[0], m[0][1:]), match["double"], flags=re.DOTALL)
        else:
            value = match["single"] if match["single"] is not None else match["bare"].strip()
        found[match["name"]] = value
    return found


def broken_lines(text: str) -> list[int]:
    """The numbers of lines that say something and set nothing, or whose quotation mark is never closed."""
    text = text.replace("\r\n", "\n")
    found: list[int] = []
    end = 0
    for match in _LINE.finditer(text):
        found += _said_in(text, end, match.start())
        if (match["bare"] or "").startswith(("'", '"')):
            found.append(text.count("\n", 0, match.start()) + 1)
        end = match.end()
    return found + _said_in(text, end, len(text))


def _said_in(text: str, begin: int, end: int) -> list[int]:
    first = text.count("\n", 0, begin) + 1
    lines = text[begin:end].split("\n")
    return [first + i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]


def read_dev_vars(directory: Path, warn: Callable[[str], None]) -> dict[str, str]:
    """Of the directory's `.dev.vars`; `warn` is told of lines that cannot be read, and not what they hold."""
    path = directory / ".dev.vars"
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    for number in broken_lines(text):
        warn(f".dev.vars:{number}: this line cannot be read; write NAME=value, or NAME='a value'.")
    return parse_dotenv(text)


def worker_variables(
    dev_vars: Mapping[str, str], environment: Mapping[str, str], names: Iterable[str], settings: Iterable[str] = ()
) -> dict[str, str]:
    """All of `.dev.vars`, as `wrangler dev` takes it, and what the environment says of `names` (the catalog's) and
    `settings` (the Worker's own). Set but empty means unset. Without a master key it is the well-known one."""
    wanted = {MASTER_KEY, *names, *settings, *_OPTIONAL}
    given = {name: value for name, value in dev_vars.items() if value}
    given |= {name: environment[name] for name in wanted if environment.get(name)}
    return {MASTER_KEY: WELL_KNOWN_KEY, "LOCAL_DEVELOPMENT": "true", **given}
