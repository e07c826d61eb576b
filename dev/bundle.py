"""`dev/bundle`: what `wrangler deploy` would upload, checked without network, account or Docker.

The Worker's modules are wrangler's business; the Workers SDK has to lie in python_modules/. pywrangler fetches it anew
each time; here it is copied from .venv, where it was installed with the hash that requirements/dev.txt locks.
"""

import argparse
import importlib.metadata
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .offline import wrangler
from .offline.tools import MissingTool
from .progress import step
from .wrangler_command import Wrangler

SDK = "workers-runtime-sdk"
VENDORED = "python_modules"
CONFIG = "wrangler.jsonc"
# wrangler puts it beside what it bundles; it is not uploaded.
_NOTE = "README.md"
_LOCAL_RECORDS = ("INSTALLER", "REQUESTED", "direct_url.json")


class BundleError(Exception):
    """The Worker cannot be bundled, or not as it should be; the message says why."""


@dataclass(frozen=True)
class Bundle:
    """Sizes in bytes by module name: the Worker's own, and those below python_modules/."""

    own: dict[str, int]
    vendored: dict[str, int]

    def __str__(self) -> str:
        size = sum(self.own.values()) + sum(self.vendored.values())
        return f"{len(self.own)} modules and {len(self.vendored)} files of the SDK, {size / 1024:.0f} KiB"


def vendor(target: Path) -> None:
    """Makes `target` hold the SDK's files and nothing else. Raises MissingTool."""
    try:
        distribution = importlib.metadata.distribution(SDK)
    except importlib.metadata.PackageNotFoundError:
        raise MissingTool(f"The package {SDK} is not installed here; run `just setup`.") from None
    files = {
        str(file): Path(str(distribution.locate_file(file)))
        for file in distribution.files or []
        if "__pycache__" not in file.parts and file.name not in _LOCAL_RECORDS
    }
    present = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    for name in present - files.keys():
        (target / name).unlink()
    for name, source in files.items():
        copy = target / name
        if name not in present or copy.read_bytes() != source.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)


def make(tool: Wrangler, out: Path) -> Bundle:
    """Has wrangler write what it would upload to `out`. Raises BundleError, MissingTool."""
    vendor(tool.directory / VENDORED)
    done = tool.capture("deploy", "--dry-run", "--containers-rollout=none", "--outdir", str(out))
    if done.returncode:
        raise BundleError(f"wrangler cannot bundle the Worker:\n{(done.stdout + done.stderr).strip()}")
    sizes = {
        path.relative_to(out).as_posix(): path.stat().st_size
        for path in sorted(out.rglob("*"))
        if path.is_file() and path != out / _NOTE
    }
    vendored = {name: size for name, size in sizes.items() if name.startswith(f"{VENDORED}/")}
    return Bundle({name: size for name, size in sizes.items() if name not in vendored}, vendored)


def check(tool: Wrangler, bundle: Bundle) -> None:
    """Raises BundleError unless the bundle is the Python files beside the main module, the data files that the config
    names, and the SDK."""
    config = wrangler.read(tool.directory / CONFIG)
    main = config.main
    sources = {
        path.relative_to(main.parent).as_posix()
        for path in main.parent.rglob("*.py")
        if "__pycache__" not in path.parts
    }
    sources |= {"catalog.py", *config.data_files()}  # catalog.py: wrangler has it made
    problems = [f"{name} would be uploaded and belongs to nothing" for name in bundle.own.keys() - sources]
    problems += [f"{name} is missing" for name in sources - bundle.own.keys()]
    if f"{VENDORED}/workers/__init__.py" not in bundle.vendored:
        problems.append(f"the Workers SDK is missing from {VENDORED}/")
    if problems:
        raise BundleError(f"The Worker's bundle is not what it should be: {'; '.join(sorted(problems))}.")


def checked(tool: Wrangler) -> Bundle:
    """Makes the bundle and checks it. Raises BundleError, MissingTool, WranglerConfigError."""
    with tempfile.TemporaryDirectory(prefix="bundle-") as out, step("Bundling the Worker"):
        bundle = make(tool, Path(out))
    check(tool, bundle)
    return bundle


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="dev/bundle",
        description="Checks what `wrangler deploy` would upload, without network, account or Docker.",
        epilog="Exit codes: 0 fine, 1 something is wrong and was said, 2 wrong usage.",
    )
    parser.add_argument("--list", action="store_true", help="print the name and size of every module")
    given = parser.parse_args(arguments)
    try:
        bundle = checked(Wrangler.installed())
    except (BundleError, MissingTool, wrangler.WranglerConfigError) as error:
        print(f"bundle: {error}", file=sys.stderr)
        return 1
    if given.list:
        for name, size in {**bundle.own, **bundle.vendored}.items():
            print(f"{size:>8}  {name}")
    print(f"The Worker's bundle: {bundle}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
