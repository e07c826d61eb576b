"""The files that the image omits, with the real lock file and a simulated site-packages."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

SCRIPT = ROOT / "deploy" / "image" / "trim.py"
LOCK = (ROOT / "requirements" / "container.txt").read_text()
_spec = importlib.util.spec_from_file_location("trim", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
trim = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(trim)


def names(lock: str) -> set[str]:
    return {line.partition("==")[0] for line in lock.splitlines() if line[:1].isalnum()}


def site_packages(folder: Path) -> Path:
    """A site-packages with everything in FILES, and beside it what has to stay."""
    for path in (
        "litellm/proxy/_experimental/out/index.html",
        "litellm/proxy/_experimental/mcp.py",
        "litellm/proxy/swagger/bundle.js",
        "litellm/proxy/client/cli.py",
        "litellm/rust_bridge/_native.abi3.so",
        "litellm/rust_bridge/loader.py",
        "botocore/data/ec2/service-2.json.gz",
        "botocore/data/bedrock-runtime/service-2.json.gz",
        "botocore/data/sts/service-2.json.gz",
        "botocore/data/sso/service-2.json.gz",
        "botocore/data/endpoints.json",
        "pygments/lexers/__init__.py",
        "pygments/lexers/python.py",
        "pygments/lexers/jvm.py",
        "uvloop/loop.pyx",
        "uvloop/loop.pxd",
        "uvloop/loop.pyi",
        "uvloop/loop.so",
        "regex/tests/test_regex.py",
        "jsonschema/tests/test_cli.py",
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


def test_lock_file_without_the_removed_packages() -> None:
    kept = trim.kept_requirements(LOCK)
    assert names(LOCK) - names(kept) == trim.PACKAGES
    assert {"litellm", "aiohttp", "boto3", "botocore", "google-auth", "azure-identity", "pynacl"} <= names(kept)
    for pin, following in zip(kept.splitlines(), kept.splitlines()[1:], strict=False):
        if pin[:1].isalnum():
            assert following.startswith("    --hash=sha256:"), pin


def test_package_missing_from_the_lock_file_is_reported() -> None:
    with pytest.raises(LookupError, match="polars-runtime-32"):
        trim.kept_requirements(LOCK.replace("\npolars-runtime-32==", "\nsomething-else=="))


def test_files(tmp_path: Path) -> None:
    folder = site_packages(tmp_path)
    done = subprocess.run([sys.executable, SCRIPT, "files", folder], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "botocore/data/bedrock-runtime/service-2.json.gz",
        "botocore/data/endpoints.json",
        "botocore/data/sso/service-2.json.gz",
        "botocore/data/sts/service-2.json.gz",
        "litellm/proxy/_experimental/mcp.py",
        "litellm/rust_bridge/loader.py",
        "pygments/lexers/__init__.py",
        "pygments/lexers/python.py",
        "uvloop/loop.so",
    ]
    assert (folder / "litellm/proxy/swagger").is_dir()  # LiteLLM mounts it at startup


@pytest.mark.parametrize("gone", ["litellm/rust_bridge/_native.abi3.so", "botocore/data/ec2/service-2.json.gz"])
def test_entry_that_matches_nothing_is_reported(tmp_path: Path, gone: str) -> None:
    folder = site_packages(tmp_path)
    (folder / gone).unlink()
    if gone.startswith("botocore"):
        (folder / gone).parent.rmdir()
    done = subprocess.run([sys.executable, SCRIPT, "files", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "matches nothing any more: " + gone.partition("/")[0] in done.stderr


def test_wrong_usage() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "shrink"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "trim.py files SITE_PACKAGES" in done.stderr
