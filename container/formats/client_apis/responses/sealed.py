"""Reasoning that only its own provider can read, kept by the client as the `encrypted_content` of a reasoning item.

Claude signs its thinking, Gemini its answers, and some models want their reasoning back as text. None of them may get
what another has made, so the content names the family of models it belongs to.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson

from ....config.deployment import Deployment

_MARK = "lr1."
_MOST_BYTES = 8 * 1024 * 1024


def family(d: Deployment, model: str) -> str:
    """The models that accept each other's reasoning: Claude's signatures are valid on all platforms, and Gemini's in
    both of Google's APIs.
    """
    name = model.lower()
    for known in ("claude", "gemini"):
        if known in name or known in str(d.info.get("base_model") or "").lower():
            return known
    return f"{d.provider}/{name}"


def seal(family: str, text: str, kept: Mapping[str, Any]) -> str:
    """`text` is the visible reasoning. `kept`: {"blocks": [blocks of Claude's thinking], "signatures": [Gemini's]}."""
    blocks = joined(kept.get("blocks") or ())
    made = {"for": family, **kept, **({"blocks": blocks} if blocks else {"text": text})}
    return _MARK + base64.urlsafe_b64encode(orjson.dumps(made)).decode()


def is_ours(content: Any) -> bool:
    return isinstance(content, str) and content.startswith(_MARK)


def unseal(content: Any, family: str) -> dict[str, Any]:
    """What `seal` was given. Empty if it is for other models, or damaged."""
    if not is_ours(content) or len(content) > _MOST_BYTES:
        return {}
    try:
        found = orjson.loads(base64.urlsafe_b64decode(content[len(_MARK) :]))
    except (binascii.Error, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("for") == family else {}


def joined(pieces: Any) -> list[dict[str, Any]]:
    """Puts the pieces of Claude's thinking blocks together. A signature ends a block."""
    blocks: list[dict[str, Any]] = []
    ended = True
    for piece in pieces:
        if not isinstance(piece, dict):
            continue
        if piece.get("type") != "thinking":
            blocks.append(dict(piece))
            ended = True
            continue
        if ended:
            blocks.append({"type": "thinking", "thinking": "", "signature": ""})
        block = blocks[-1]
        block["thinking"] += str(piece.get("thinking") or "")
        block["signature"] += str(piece.get("signature") or "")
        ended = bool(piece.get("signature"))
    return [block for block in blocks if block["type"] != "thinking" or block["signature"]]
