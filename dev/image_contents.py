"""What the image is made of, as one hash: when it is the same, a deployment needs no new image."""

import hashlib
from pathlib import Path

# What the Dockerfile copies, without the configs: behind the edge a container is given its own.
PARTS = ("Dockerfile", "requirements/container.txt", "deploy/image", "container", "worker")
# In the Worker's bundle and not in the image (.dockerignore).
LEFT_OUT = ("worker/catalog.py",)


def image_hash(directory: Path) -> str:
    """Of the files below `directory` that make the image: 16 hexadecimal digits."""
    content = hashlib.sha256()
    for path in sorted(one for part in PARTS for one in _files(directory / part)):
        name = path.relative_to(directory).as_posix()
        if name not in LEFT_OUT and "__pycache__" not in path.parts:
            content.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return content.hexdigest()[:16]


def _files(part: Path) -> list[Path]:
    return [part] if part.is_file() else [path for path in part.rglob("*") if path.is_file()]
