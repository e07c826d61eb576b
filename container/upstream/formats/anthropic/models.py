"""What Claude's models can do, told from their names: by family and version, as LiteLLM's map has it (a test compares).

https://platform.claude.com/docs/en/about-claude/models/overview
"""

import re
from functools import lru_cache
from typing import NamedTuple

DEFAULT_MAX_TOKENS = 4096

# `claude-sonnet-4-6`, `claude-opus-4-5-20251101`, `claude-sonnet-4.6@20260219`; Claude 3's differ.
_NAME = re.compile(r"claude-([a-z]+)-(\d)(?:[-._](\d{1,2}))?(?!\d)")
_ALWAYS_THINKING = ("fable", "mythos")
# Of these no answer can be forced to be a call.
_UNFORCED = re.compile(r"claude-(?:sonnet|opus|fable|mythos)-5-5|claude-(?:fable|mythos)-5-1")


class Traits(NamedTuple):
    """`max_tokens`: the most it writes; `json_schema`: it takes `output_format`; `adaptive`: it decides itself how long
    it thinks, `budgets`: by a number of tokens, too; `sampling`: temperature and its like; `forced_tools`: tool_choice
    `any` and `tool`; `system_turns`: system messages within the conversation; `efforts`: those of `output_config`;
    `thinks`: it can; `always_thinks`: that cannot be switched off."""

    max_tokens: int = DEFAULT_MAX_TOKENS
    json_schema: bool = False
    adaptive: bool = False
    budgets: bool = True
    sampling: bool = True
    forced_tools: bool = True
    system_turns: bool = False
    efforts: frozenset[str] = frozenset()
    thinks: bool = True
    always_thinks: bool = False


_OLD = Traits(thinks=False)


@lru_cache(maxsize=1024)
def traits(model: str) -> Traits:
    name = model.lower()
    found = _NAME.search(name)
    preview = "claude-mythos-preview" in name
    if found is None and not preview:
        return _OLD._replace(thinks="claude-3-7-sonnet" in name)
    family, version = ("mythos", (4, 8)) if found is None else (found[1], (int(found[2]), int(found[3] or 0)))
    if version < (4, 5):  # retired
        return Traits()
    adaptive = version >= (4, 6)
    efforts: set[str] = set()
    if adaptive or name.startswith("claude-opus-4-5"):
        efforts |= {"low", "medium", "high"}
    if adaptive:
        efforts.add("max")
    if version >= (4, 7):
        efforts.add("xhigh")
    return Traits(
        max_tokens=128_000 if adaptive else 64_000,
        json_schema=True,
        adaptive=adaptive,
        budgets=version <= (4, 6),
        sampling=version < (4, 7),
        forced_tools=_UNFORCED.search(name) is None,
        system_turns=version >= (4, 8) and not preview,
        efforts=frozenset(efforts),
        always_thinks=family in _ALWAYS_THINKING or _UNFORCED.search(name) is not None,
    )
