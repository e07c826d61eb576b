"""Which tokenizer a deployment's model has, by the names under which OpenAI's models are served."""

import re

from worker.ledger.tokenizers import CL100K, LARGEST, O200K

from .address import origin
from .deployment import Deployment
from .providers import DIRECT

# Whose names for models are OpenAI's. Others are believed when they call the model `openai/…`.
_OPENAI = frozenset(("openai", "azure", "azure_ai", "azure_text", "text-completion-openai"))
# As in `tiktoken.model`. What it does not know yet (gpt-6) is not known here either.
_NAMES = (
    (O200K, re.compile(r"(gpt-(4o|4\.1|4\.5|5(\.\d+)?)|chatgpt-4o|o1|o3|o4-mini)(?=[-:]|$)")),
    (CL100K, re.compile(r"gpt-(4|3\.5|35)(?=[-:]|$)|text-embedding-(ada-002|3-small|3-large)$")),
)
# These weights are open, and anybody serves them under this name.
_OPEN = re.compile(r"gpt-oss\b")


def tokenizer(d: Deployment, model: str) -> str:
    """A name in `worker.ledger.tokenizers.WEIGHTS`; the largest where nobody can tell. `model`: the provider's name for
    it, wildcards filled in; `base_model` in `model_info` goes before it."""
    base = d.info.get("base_model")
    path, _, name = (base if isinstance(base, str) else f"{d.provider}/{model}").rpartition("/")
    vendors = frozenset(path.split("/"))
    name = name.removeprefix("openai.")
    if _OPEN.match(name):
        return O200K
    if not (vendors & _OPENAI or not path) or (not isinstance(base, str) and _elsewhere(d)):
        return LARGEST
    name = name.removeprefix("ft:")
    return next((known for known, names in _NAMES if names.match(name)), LARGEST)


def _elsewhere(d: Deployment) -> bool:
    """At an address of the config's that is not OpenAI's, where `gpt-4` may be anything."""
    address = d.params.get("api_base") or d.params.get("base_url")
    return d.provider == "openai" and bool(address) and origin(str(address)) != origin(DIRECT["openai"].base)
