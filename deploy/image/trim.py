"""Removes those parts of LiteLLM's dependencies from the image that the engine never loads.

    trim.py requirements LOCK        prints LOCK without the packages below
    trim.py files SITE_PACKAGES      deletes the files below

Every entry must match. If an update moves something, the build fails instead of producing a bigger image.
`tests/image/test_engine.py` calls every provider through the trimmed engine. Sizes are unpacked, in MB.
"""

import re
import shutil
import sys
from pathlib import Path

PACKAGES = {
    # LiteLLM's commercial features: not licensed to users of the image, and not needed to translate.
    "litellm-enterprise",
    # Exports of spend data (181); servers other than the one that LiteLLM uses by default (21); profiling (9).
    "polars",
    "polars-runtime-32",
    "granian",
    "gunicorn",
    "pyroscope-io",
    # The length of audio files (59), for accounting that the engine does not do here; soundfile.py replaces it.
    "numpy",
    "soundfile",
    # Tokenizers of other models, downloaded when first needed (29): LiteLLM then counts with tiktoken, offline.
    "tokenizers",
    "huggingface-hub",
    "hf-xet",
    "fsspec",
    # LiteLLM's database (14) and its logs in Azure's blobs (3). The engine uses neither.
    "psycopg",
    "psycopg-binary",
    "litellm-proxy-extras",
    "azure-storage-blob",
    # Parsers of ASN.1 (3; Google's library uses cryptography instead), of C (1) and of TOML.
    "pyasn1",
    "pyasn1-modules",
    "pycparser",
    "tomlkit",
    # Locks of downloads (1), job queues (1), menus in a terminal (6), whether a domain takes mail (3).
    "filelock",
    "rq",
    "croniter",
    "inquirerpy",
    "pfzy",
    "prompt-toolkit",
    "wcwidth",
    "dnspython",
}

FILES = (
    # LiteLLM's admin pages (20), its API's description in a browser (2), its client's commands (1).
    "litellm/proxy/_experimental/out",
    "litellm/proxy/swagger/*",
    "litellm/proxy/client",
    # LiteLLM's Rust core (38): today for OCR and for transcription on Bedrock, which do not work without it.
    "litellm/rust_bridge/_native.abi3.so",
    # Descriptions of AWS' other services (26): bedrock and the services for signing in to it stay.
    "botocore/data/!(bedrock*|sts|sso|sso-oidc|signin|*.json)",
    # Colours for source code in 250 languages (7); tracebacks are Python.
    "pygments/lexers/!(__init__.py|_mapping.py|python.py)",
    # Sources of compiled modules, types for editors, tests (2).
    "**/*.pyx",
    "**/*.pxd",
    "**/*.pyi",
    "regex/tests",
    "jsonschema/tests",
)

_PIN = re.compile(r"^([a-z0-9][a-z0-9-]*)==", re.MULTILINE)
_NEGATED = re.compile(r"^(.*/)!\(([^)]+)\)$")


def kept_requirements(lock: str) -> str:
    """The lock without PACKAGES. Raises LookupError for packages that are not in it."""
    blocks = re.split(r"(?m)^(?=[a-z0-9])", lock)
    unknown = PACKAGES - set(_PIN.findall(lock))
    if unknown:
        raise LookupError(f"not in the lock any more: {', '.join(sorted(unknown))}")
    return "".join(block for block in blocks if not ((name := _PIN.match(block)) and name[1] in PACKAGES))


def unneeded(site_packages: Path) -> list[Path]:
    """The paths that match FILES. Raises LookupError for an entry that matches nothing."""
    found: list[Path] = []
    for pattern in FILES:
        negated = _NEGATED.match(pattern)
        if negated:
            kept = {path for one in negated[2].split("|") for path in site_packages.glob(negated[1] + one)}
            matches = [path for path in site_packages.glob(negated[1] + "*") if path not in kept]
            missing = not kept or not matches
        else:
            matches = list(site_packages.glob(pattern))
            missing = not matches
        if missing:
            raise LookupError(f"matches nothing any more: {pattern}")
        found += matches
    return found


def main(arguments: list[str]) -> int:
    try:
        match arguments:
            case ["requirements", lock]:
                print(kept_requirements(Path(lock).read_text(encoding="utf-8")), end="")
            case ["files", site_packages]:
                for path in unneeded(Path(site_packages)):
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except LookupError as error:
        print(f"trim.py: {error.args[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
