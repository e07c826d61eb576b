"""What Gemini's models have in common and what sets them apart, told by their names."""

import re
from functools import lru_cache
from typing import NamedTuple

_BEFORE_3 = re.compile(r"gemini-(?:[12](?:\.\d+)?|exp|(?:pro|flash)(?!-(?:lite-)?latest$))(?:-|$)")


class Traits(NamedTuple):
    """`system`: takes system instructions; `call_ids`: knows calls by ids; `signs_calls`: wants a thought signature on
    the first call of a turn; `levels`: thinks on levels, not within a budget of tokens; `penalties`: takes them;
    `resolution_of_parts`: each picture may have its own."""

    name: str
    vertex: bool
    system: bool
    call_ids: bool
    signs_calls: bool
    levels: bool
    penalties: bool
    resolution_of_parts: bool


@lru_cache(maxsize=1024)
def traits(model: str, *, vertex: bool) -> Traits:
    name = model.rpartition("/")[2].lower()
    # A tuned model is a number; what it was tuned from is not known.
    new = name.startswith("gemini-") and not _BEFORE_3.match(name)
    return Traits(
        name=name,
        vertex=vertex,
        system=not name.startswith("gemma"),
        call_ids=new,
        signs_calls=new,
        levels=new,
        penalties=not new,
        resolution_of_parts=new,
    )
