"""One hash of the image's contents. If it is unchanged, a deployment needs no new image."""

import hashlib
import re
from pathlib import Path

from container.config.document import IN_IMAGE

# The paths that the Dockerfile copies, without configs, because the edge sends the config to its container.
PARTS = ("Dockerfile", "requirements/container.txt", "deploy/image", "container", "worker")
_IN_IMAGE = re.compile(re.escape(IN_IMAGE) + r"\w+")
# In the Worker's bundle but not in the image (.dockerignore).
LEFT_OUT = ("worker/catalog.py",)


def image_hash(directory: Path, config: str) -> str:
    """Of the files below `directory` that make the image, and of the secrets of the `config` (the catalog's `document`)
    that only the image has: 16 hexadecimal digits."""
    content = hashlib.sha256("\n".join(sorted(_IN_IMAGE.findall(config))).encode())
    for path in sorted(one for part in PARTS for one in _files(directory / part)):
        name = path.relative_to(directory).as_posix()
        if name not in LEFT_OUT and "__pycache__" not in path.parts:
            content.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return content.hexdigest()[:16]


def _files(part: Path) -> list[Path]:
    return [part] if part.is_file() else [path for path in part.rglob("*") if path.is_file()]
