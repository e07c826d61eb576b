"""Expands wildcard deployments to the models of their providers in LiteLLM's price map."""

from collections.abc import Iterable, Mapping
from typing import Any

from .deployment import Deployment

# Azure deployment names are chosen by the user, so the price map does not know them.
_NAMELESS = frozenset(("azure", "azure_text"))


def names(deployments: Iterable[Deployment], known: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The model names that wildcard deployments cover. `openai/*` covers `openai/gpt-4o`. `known` is the price map."""
    by_provider: dict[str, list[str]] = {}
    for name, entry in known.items():
        by_provider.setdefault(_provider(entry.get("litellm_provider")), []).append(name)
    found: dict[str, None] = {}
    for d in deployments:
        before, _, after = d.model.partition("*")
        for name in sorted(by_provider.get(d.provider, ())) if d.provider not in _NAMELESS else ():
            bare = name.removeprefix(f"{d.provider}/")
            fits = len(bare) > len(before) + len(after) and bare.startswith(before) and bare.endswith(after)
            if "*" in d.model and fits and not bare.startswith("ft:"):
                found[d.group.replace("*", bare[len(before) : len(bare) - len(after)], 1)] = None
    return list(found)


def _provider(named: Any) -> str:
    """Maps variants such as `vertex_ai-language-models` and `bedrock_converse` to their provider."""
    text = str(named)
    return "vertex_ai" if text.startswith("vertex_ai") else text.removesuffix("_converse")
