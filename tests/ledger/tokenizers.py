"""The tokenizers that LiteLLM ships as files, so that tests download nothing."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

Tokenizer = Callable[[str], int]


def loaded() -> dict[str, Tokenizer]:
    """Each tokenizer's token count of a text."""
    spec = importlib.util.find_spec("litellm")
    assert spec
    assert spec.submodule_search_locations
    files = Path(spec.submodule_search_locations[0]) / "litellm_core_utils" / "tokenizers"
    with mock.patch.dict(os.environ, {"TIKTOKEN_CACHE_DIR": str(files)}):
        import tiktoken
        from tokenizers import Tokenizer as Loaded

        cl100k, o200k = tiktoken.get_encoding("cl100k_base"), tiktoken.get_encoding("o200k_base")
    claude = Loaded.from_file(str(files / "anthropic_tokenizer.json"))
    return {
        "cl100k": lambda text: len(cl100k.encode(text, disallowed_special=())),
        "o200k": lambda text: len(o200k.encode(text, disallowed_special=())),
        "claude": lambda text: len(claude.encode(text, add_special_tokens=False)),
    }
