"""LiteLLM's prefixes that say how a model is called: `azure/o_series/my-deployment`, `openai/responses/gpt-5`.

They are never a part of the provider's name for the model. https://docs.litellm.ai/docs/providers/azure
"""

_ROUTES = {
    "azure": frozenset(("responses", "o_series", "gpt5_series")),
    "openai": frozenset(("responses", "o_series", "gpt5_series", "chat_completions")),
}
_NONE: frozenset[str] = frozenset()


def split_route(provider: str | None, model: str) -> tuple[str, str]:
    """The route, '' where there is none, and the provider's own name: `("o_series", "my-deployment")`."""
    head, slash, tail = model.partition("/")
    if not slash or not tail or head not in _ROUTES.get(provider or "", _NONE):
        return "", model
    return head, tail
