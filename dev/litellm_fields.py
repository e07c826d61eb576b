"""Writes `formats/shared/litellm_fields.json`: the chat fields that LiteLLM sends to each provider called directly.

`requirements/lock` runs it when the locked LiteLLM changes; a test compares the file with the installed one. LiteLLM is
asked, not read: `get_supported_openai_params` knows each of its models. Importing it takes seconds, so the proxy reads
the file instead.
"""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from container.config.deployment import price_map
from container.config.providers import DIRECT

TARGET = Path(__file__).parents[1] / "container" / "formats" / "shared" / "litellm_fields.json"
# A model that LiteLLM's map does not know: the answer is what the provider takes in general.
_UNKNOWN = "a-model-that-nobody-knows"
_MODES = ("chat", "completion", "responses", None)
# Options of LiteLLM's own, not fields of a request.
_OPTIONS = frozenset(("max_retries", "extra_headers", "model", "messages", "stream"))


def extract() -> dict[str, Any]:
    """{"sets": [space-separated fields, …], "providers": {name: {"": index, model: index where it differs}}}."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ.setdefault("LITELLM_LOG", "ERROR")
    import litellm

    litellm.suppress_debug_info = True
    known = price_map()
    sets: dict[str, int] = {}
    providers: dict[str, dict[str, int]] = {}
    for provider in DIRECT:
        fields = {model: _fields(litellm, model, provider) for model in (_UNKNOWN, *_models(known, provider))}
        general = fields.pop(_UNKNOWN)
        found = providers[provider] = {"": sets.setdefault(general, len(sets))}
        for model, own in sorted(fields.items()):
            if own != general:
                found[model] = sets.setdefault(own, len(sets))
    return {"sets": list(sets), "providers": providers}


def _models(known: Any, provider: str) -> Iterable[str]:
    for name, entry in known.items():
        if entry.get("litellm_provider") == provider and entry.get("mode") in _MODES:
            yield name.removeprefix(f"{provider}/")


def _fields(litellm: Any, model: str, provider: str) -> str:
    found = litellm.get_supported_openai_params(model, custom_llm_provider=provider) or ()
    return " ".join(sorted(set(found) - _OPTIONS))


def text() -> str:
    return json.dumps(extract(), indent=0, sort_keys=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{TARGET.name}: written\n")
