"""The stored responses and items that a Responses request refers to, by sealed ids, which only their owner can use.

All keys share the provider's account, so a provider's own id would give any key access to any response. Clients get a
sealed id instead: encrypted, and bound to its owner. It carries everything that is needed to find the response again,
so nothing is stored for it, and every replica with the same secret can open it. Ids that cannot be opened, including
those of other owners, are answered as OpenAI answers an id that does not exist.

The encryption is deterministic (AES-SIV), so that a response has the same id wherever it appears: https://www.rfc-
editor.org/rfc/rfc5297
"""

import base64
import binascii
import functools
import hashlib
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.core.api.errors import ApiError
from worker.core.pricing.estimate import is_complete, is_reference
from worker.core.shared_settings import derived

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
    """Seals and opens ids. `secret`: in hexadecimal, from `settings.seal_secret`."""

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


PREVIOUS = "previous_response_id"


def response_not_found(id: str) -> ApiError:
    return ApiError(404, "invalid_request_error", f"Response with id '{id[:300]}' not found.")


def previous_not_found(id: str) -> ApiError:
    message = f"Previous response with id '{id[:300]}' not found."
    return ApiError(400, "invalid_request_error", message, code="previous_response_not_found", param=PREVIOUS)


def item_not_found(id: str) -> ApiError:
    message = (
        f"Item with id '{id[:300]}' not found. Items are not persisted when `store` is set to false. Try again with "
        "`store` set to true, or remove this item from your input."
    )
    return ApiError(404, "invalid_request_error", message, param="input")


def item_repeated(id: str) -> ApiError:
    """OpenAI's error, too. What a reference adds to a prompt is counted once."""
    message = f"Duplicate item found with id {id[:300]}. Remove duplicate items from your input and try again."
    return ApiError(400, "invalid_request_error", message, param="input")


def items_not_found() -> ApiError:
    """The error when it is not known which one of several is missing."""
    return ApiError(404, "invalid_request_error", "An item that 'input' refers to was not found.", param="input")


@dataclass(slots=True)
class StoredInput:
    """What a request refers to.

    ids        the opened ids by the sealed ones, as far as the request has them
    needed     those of them that something has to be read from: the previous response and referenced items
    thoughts   those of reasoning that only its provider has; all others are not sent it
    previous   the previous response
    keeps      the gateway keeps the response if the provider does not
    """

    ids: dict[str, SealedId] = field(default_factory=dict)
    needed: list[SealedId] = field(default_factory=list)
    thoughts: list[SealedId] = field(default_factory=list)
    previous: SealedId | None = None
    keeps: bool = False

    @property
    def previous_text(self) -> str | None:
        """The previous response's id as the client knows it."""
        return next((text for text, what in self.ids.items() if what is self.previous), None)

    @property
    def places(self) -> set[bytes]:
        """The places of everything that is needed."""
        return {one.place for one in self.needed}

    @property
    def bound(self) -> int | None:
        """The most tokens that all of it adds to the prompt, None if unknown."""
        elsewhere = [one for one in (*self.needed, *self.thoughts) if one.place != KEPT]
        if any(not one.bound for one in elsewhere):
            return None
        groups = {(one.place, one.group): one.bound for one in elsewhere}
        for one in elsewhere:
            groups[one.place, one.group] = max(groups[one.place, one.group], one.bound)
        return sum(groups.values())


def opened(fields: Mapping[str, Any], seal: Seal | None, owner: str) -> StoredInput:
    """Raises ApiError 400 or 404, as OpenAI does, for a reference that this owner cannot use."""
    found = StoredInput()
    previous = fields.get(PREVIOUS)
    if previous is not None:
        text = previous if isinstance(previous, str) else ""
        known = seal.open(text, owner) if seal is not None else None
        if known is None or not text.startswith("resp_"):
            raise previous_not_found(str(previous))
        found.ids[text] = known
        found.previous = known
        found.needed.append(known)
    items = fields.get("input")
    referred: set[tuple[bytes, str]] = set()
    for item in items if isinstance(items, list) else ():
        if not isinstance(item, dict):
            continue
        _open_item(item, found, seal, owner)
        if is_reference(item):
            what = found.ids[str(item["id"])]
            if (what.place, what.id) in referred:
                raise item_repeated(str(item["id"]))
            referred.add((what.place, what.id))
    return found


def _open_item(item: Mapping[str, Any], found: StoredInput, seal: Seal | None, owner: str) -> None:
    """Raises ApiError 404 for a reference to what the owner does not have."""
    for name in ("id", "approval_request_id"):
        text = item.get(name)
        known = None
        if seal is not None and isinstance(text, str):
            known = found.ids.get(text) or seal.open(text, owner)
        if known is not None:
            found.ids[str(text)] = known
            if name == "id" and item.get("type") == "reasoning" and not is_complete(item):
                found.thoughts.append(known)
            elif name != "id" or not is_complete(item):
                found.needed.append(known)
        elif name == "id" and (is_reference(item) or _is_stored_picture(item)):
            raise item_not_found(str(text))


def _is_stored_picture(item: Mapping[str, Any]) -> bool:
    return item.get("type") == "image_generation_call" and not item.get("result")


def without_references(fields: Mapping[str, Any], found: StoredInput) -> dict[str, Any]:
    """Returns what the request itself contains, to measure it. The rest is in `StoredInput.bound`."""
    made = {name: value for name, value in fields.items() if name != PREVIOUS}
    items = made.get("input")
    if isinstance(items, list):
        made["input"] = [item for item in items if not (isinstance(item, dict) and is_reference(item))]
    return made


def for_provider(fields: Mapping[str, Any], found: StoredInput, places: set[bytes]) -> dict[str, Any]:
    """Returns the fields with the provider's own ids. `places`: those that the provider's account has.

    Ids of other places are removed: to this provider they would be references to nothing. So are ids that were never
    sealed, because a provider might resolve them. Reasoning without content cannot be used without its id.
    """
    made = dict(fields)
    if isinstance(made.get(PREVIOUS), str) and made[PREVIOUS] in found.ids:
        made[PREVIOUS] = found.ids[made[PREVIOUS]].id
    items = made.get("input")
    if isinstance(items, list) and any(isinstance(item, dict) and _NAMED.intersection(item) for item in items):
        fitted = (_fitted(item, found, places) if isinstance(item, dict) else item for item in items)
        made["input"] = [item for item in fitted if item is not None]
    return made


_NAMED = frozenset(("id", "approval_request_id"))
# They come from `/responses/compact`, which stores nothing.
_NEVER_STORED = frozenset(("compaction", "compaction_summary"))


def _fitted(item: dict[str, Any], found: StoredInput, places: set[bytes]) -> dict[str, Any] | None:
    for name in _NAMED.intersection(item):
        known = found.ids.get(item[name]) if isinstance(item[name], str) else None
        if known is not None and known.place in places and item.get("type") not in _NEVER_STORED:
            item = {**item, name: known.id}
        elif name == "id" and is_complete(item):
            item = {key: value for key, value in item.items() if key != "id"}
        elif name == "id" and item.get("type") == "reasoning":
            return None
        elif known is not None:
            item = {key: value for key, value in item.items() if key != name}
    return item
