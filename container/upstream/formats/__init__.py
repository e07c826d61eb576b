"""The wire formats of the providers that the proxy calls itself: OpenAI's, which clients speak too, and those that are
translated. Everything else is the engine's."""

from collections.abc import Mapping

from ...config import Deployment, Options
from ...config.providers import DIRECT
from ...engine.supervisor import Engine
from .anthropic import Anthropic
from .format import Format, Malformed, Sent, Unreachable, Unsupported
from .gemini import Gemini
from .openai import OpenAI, ThroughEngine
from .vertex import Vertex


class Formats:
    """Which format a deployment's endpoint is called in. Translated formats serve chat completions only: for anything
    else their deployments are the engine's."""

    def __init__(self, options: Options, engine: Engine) -> None:
        self._openai = OpenAI(drop_params=options.drop_params)
        self._engine = ThroughEngine(engine, drop_params=options.drop_params)
        # By `Direct.format` (container/config/providers.py).
        self._translated: Mapping[str, Format] = {
            "anthropic": Anthropic(drop_params=options.drop_params),
            "gemini": Gemini(drop_params=options.drop_params),
            "vertex_ai": Vertex(drop_params=options.drop_params),
        }

    def of(self, d: Deployment, model: str, endpoint: str) -> Format:
        if d.kind != "direct":
            return self._engine
        if d.format == "openai":
            return self._openai
        # A wildcard's model is known only now.
        takes = endpoint == "chat_completions" and DIRECT[d.provider].takes(model)
        return self._translated[d.format] if takes else self._engine


__all__ = ["Format", "Formats", "Malformed", "Sent", "Unreachable", "Unsupported"]
