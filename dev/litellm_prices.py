"""Writes `container/config/litellm_prices.json`: the locked LiteLLM's map of models to prices and limits.

`requirements/lock` runs it when the locked LiteLLM changes; a test compares the file with the installed one. The proxy
reads the copy, so that prices are known where LiteLLM, which only the engine needs, is not installed. One model a line.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from container.config.deployment import MAP_FILE as TARGET

_SHIPPED_AS = "model_prices_and_context_window_backup.json"


def shipped() -> dict[str, Any]:
    """The map in the installed LiteLLM's package."""
    spec = importlib.util.find_spec("litellm")
    assert spec is not None, "LiteLLM is not installed"
    assert spec.submodule_search_locations, spec
    return json.loads((Path(spec.submodule_search_locations[0]) / _SHIPPED_AS).read_bytes())


def text() -> str:
    lines = (f"{json.dumps(name)}:{json.dumps(entry, separators=(',', ':'))}" for name, entry in shipped().items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{TARGET.name}: written\n")
