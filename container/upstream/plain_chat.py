"""Whether a chat is plain: nothing but texts of a system, a user and an assistant, none of them empty. To those no
provider objects."""

from collections.abc import Iterable
from typing import Any

_ROLES = frozenset(("system", "user", "assistant"))


def is_plain(messages: Iterable[Any]) -> bool:
    try:
        for message in messages:
            content = message["content"]
            if len(message) != 2 or content.__class__ is not str or not content or message["role"] not in _ROLES:
                return False
    except (KeyError, TypeError):
        return False
    return True
