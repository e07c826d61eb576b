"""LiteLLM prefixes some models with the way they are called: `azure/o_series/my-deployment`, `openai/responses/gpt-5`.

The prefix is never part of the provider's name for the model. https://docs.litellm.ai/docs/providers/azure
"""

_ROUTES = {
    "azure": frozenset(("responses", "o_series", "gpt5_series")),
    "openai": frozenset(("responses", "o_series", "gpt5_series", "chat_completions")),
}
_NONE: frozenset[str] = frozenset()


def split_route(provider: str | None, model: str) -> tuple[str, str]:
    """Splits off the route prefix: `("o_series", "my-deployment")`. The route is '' if there is none."""
    head, slash, tail = model.partition("/")
    if not slash or not tail or head not in _ROUTES.get(provider or "", _NONE):
        return "", model
    return head, tail
