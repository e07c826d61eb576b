"""Ids of responses and items that only their owner can use.

All keys share the provider's account, so a provider's own id would give any key access to any response. Clients get a
sealed id instead: encrypted, and bound to its owner. It carries everything that is needed to find the response again,
so nothing is stored for it, and every replica with the same secret can open it.

The encryption is deterministic (AES-SIV), so that a response has the same id wherever it appears:
https://www.rfc-editor.org/rfc/rfc5297
"""

import base64
import binascii
import functools
import hashlib
import os
import re
import struct
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from worker.core.values.derived_secrets import derived

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

_VERSION = 1
# The version, the place, the bound and the group.
_HEAD = struct.Struct(">B8sI4s")
_PLACE_BYTES = 8
_MOST_TOKENS = (1 << 32) - 1
_HEX_ID = re.compile(r"([a-z]{1,16}_)((?:[0-9a-f]{2}){8,64})")
_PREFIX = re.compile(r"[a-z]{1,16}_")
# Follows the prefix of a sealed id. Providers' ids are hexadecimal, so most of them need not be decrypted.
_MARK = "S"
_SEALED = re.compile(f"({_PREFIX.pattern}){_MARK}([A-Za-z0-9_-]*)")
# No id is longer. Longer input is not worth decrypting.
_LONGEST = 1024
_PROVIDERS_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,512}")
# The place of responses that the gateway keeps itself.
KEPT = bytes(_PLACE_BYTES)


class SealedId(NamedTuple):
    """What a sealed id carries.

    place   where the response is stored: `place_of` a deployment, or KEPT
    id      the id there
    bound   the most tokens that a reference to it adds to a prompt, 0 if unknown
    group   the items of one response have the same group, and together add at most one `bound`
    """

    place: bytes
    id: str
    bound: int = 0
    group: bytes = bytes(4)


def place_of(name: str) -> bytes:
    """Returns the place for a deployment. `name` must be the same in every process that uses the deployment."""
    return hashlib.sha256(name.encode()).digest()[:_PLACE_BYTES]


def group_of(response_id: str) -> bytes:
    return hashlib.sha256(response_id.encode()).digest()[:4]


@functools.cache
def secret_of_this_process() -> str:
    """Returns a secret for a gateway without any. Ids then end with the process."""
    return os.urandom(32).hex()


class Seal:
    """Seals and opens ids. `secret`: in hexadecimal, from `derived_secrets.seal_secret`."""

    def __init__(self, secret: str) -> None:
        self._secret = bytes.fromhex(secret)

    @cached_property
    def _cipher(self) -> "AESSIV":
        # Imported on first use, to keep the start fast.
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        return AESSIV(derived(self._secret, b"ids", 64))

    def seal(self, what: SealedId, owner: str) -> str:
        """Returns an id that only this owner can open. It keeps the prefix of the provider's id, such as `resp_`.

        An id that could not be a provider's is returned unchanged. It cannot be opened, so it refers to nothing.
        """
        if not _PROVIDERS_ID.fullmatch(what.id):
            return what.id
        found = _PREFIX.match(what.id)
        prefix = found[0] if found else "item_"
        head = _HEAD.pack(_VERSION, what.place, min(what.bound, _MOST_TOKENS), what.group)
        sealed = self._cipher.encrypt(head + _packed(what.id), [owner.encode(), prefix.encode()])
        return prefix + _MARK + base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def open(self, text: str, owner: str) -> SealedId | None:
        """Returns None for an id that is not sealed, not sealed here, damaged, or another owner's."""
        found = _SEALED.fullmatch(text) if len(text) <= _LONGEST else None
        if found is None:
            return None
        sealed = _decoded(found[2])
        if sealed is None or len(sealed) < 16 + _HEAD.size:
            return None
        from cryptography.exceptions import InvalidTag

        try:
            plain = self._cipher.decrypt(sealed, [owner.encode(), found[1].encode()])
        except InvalidTag:
            return None
        version, place, bound, group = _HEAD.unpack_from(plain)
        return SealedId(place, _unpacked(plain[_HEAD.size :]), bound, group) if version == _VERSION else None


def _decoded(text: str) -> bytes | None:
    """Decodes base64, in its one canonical form."""
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if base64.urlsafe_b64encode(found).decode().rstrip("=") == text else None


def _packed(id: str) -> bytes:
    """Halves the hexadecimal digits that OpenAI's ids consist of."""
    found = _HEX_ID.fullmatch(id)
    return id.encode() if found is None else found[1].encode() + b"\0" + bytes.fromhex(found[2])


def _unpacked(data: bytes) -> str:
    prefix, zero, digits = data.partition(b"\0")
    return prefix.decode() + digits.hex() if zero else data.decode()
