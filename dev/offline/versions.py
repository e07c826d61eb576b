"""The Pyodide version that workerd requires. npm's must match, or the offline edge differs from the deployment."""

import re
import subprocess
import tempfile
from pathlib import Path

from . import tools, wrangler

_BUNDLE = re.compile(r"/pyodide_(?P<version>[^_/]+)_[^/]*\.capnp\.bin")
_CONFIG = """using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (
    modules = [(name = "entry.py", pythonModule = "")],
    compatibilityDate = "%s",
    compatibilityFlags = [%s],
  ))],
);
"""


def expected_pyodide(config: wrangler.WranglerConfig) -> str:
    """The version of Pyodide that the installed workerd takes for this config's compatibility date and flags.

    workerd is started with a Python Worker, prints the bundle that it is about to download, and is stopped at once.
    Raises RuntimeError if it prints none.
    """
    flags = ", ".join(f'"{flag}"' for flag in config.compatibility_flags)
    with tempfile.TemporaryDirectory(prefix="pyodide-version-") as scratch:
        path = Path(scratch) / "config.capnp"
        path.write_text(_CONFIG % (config.compatibility_date, flags), encoding="utf-8")
        command = [str(tools.workerd_binary()), "serve", str(path), "--verbose"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            assert process.stdout is not None
            try:
                said = []
                for line in process.stdout:
                    said.append(line)
                    if match := _BUNDLE.search(line):
                        return match["version"]
            finally:
                process.kill()
    raise RuntimeError("workerd names no Pyodide bundle; it said:\n" + "".join(said))
