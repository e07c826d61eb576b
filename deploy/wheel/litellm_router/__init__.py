"""The `litellm-router` command, and the one package that a wheel installs.

In a checkout `container`, `worker` and `dev` are folders beside each other. A wheel has the first two inside this
package. They keep their import names: this process, and no other, looks for them here first.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

_HERE = Path(__file__).parent
_INSTALLED = (_HERE / "container").is_dir()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code. `arguments`: `sys.argv[1:]` unless they are given."""
    if _INSTALLED and str(_HERE) not in sys.path:
        sys.path.insert(0, str(_HERE))
    from container.cli.main import main as command

    if _INSTALLED:
        return command(arguments)
    from dev import run as development

    return command(arguments, development)
