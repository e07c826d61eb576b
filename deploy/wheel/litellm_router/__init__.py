"""The `litellm-router` command, and the only package that a wheel installs.

In a checkout, `container`, `worker` and `dev` are sibling folders. A wheel has the first two inside this package. They
keep their import names, because this process adds the package to its import path.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

_HERE = Path(__file__).parent
_INSTALLED = (_HERE / "container").is_dir()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code. `arguments` defaults to `sys.argv[1:]`."""
    if _INSTALLED and str(_HERE) not in sys.path:
        sys.path.insert(0, str(_HERE))
    from container.cli.main import main as command

    if _INSTALLED:
        return command(arguments)
    from dev import run as development

    return command(arguments, development)
