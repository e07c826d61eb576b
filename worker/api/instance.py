"""The name of one start of a container, which reservations are bound to: no other container may report on them."""

import hashlib


def instance_of(token: str) -> str:
    """From the token of that start, so that the edge and the container know it and nobody tells it to the other. It
    says nothing about the token."""
    return hashlib.sha256(b"instance:" + token.encode()).hexdigest()[:24]
