"""Wire formats of the providers that the proxy calls directly.

OpenAI's format is also the client's. The others are translated. All other providers are called through the engine.
"""

from worker.core.pricing.prices import GOOGLES_COUNT, GOOGLES_EMBEDDINGS

from ..config.deployment import Deployment
from ..config.load import Options
from ..config.providers import DIRECT
from ..engine import Engine
from .anthropic import Anthropic
from .client_apis import gemini as gemini_api
from .client_apis import messages, responses
from .client_apis.messages import ToClaude, ToEngine, ToVertexClaude
from .client_apis.over_chat import OverChat
from .gemini import Gemini
from .openai import ChatOrResponses, OpenAI, ThroughEngine
from .shared.fit import Fitted
from .shared.wire import Format, Malformed, Sent, Unreachable, Unsupported
from .vertex import Vertex, is_claude


class Formats:
    """Selects the format for a deployment and an endpoint.

    Translated formats support chat completions only. For other endpoints, requests to such a deployment go through the
    engine.
    """

    def __init__(self, options: Options, engine: Engine) -> None:
        drop = options.drop_params
        openai = OpenAI(drop_params=drop)
        self._openai = Fitted(ChatOrResponses(openai, drop_params=drop), drop_params=drop)
        self._engine = ThroughEngine(engine, drop_params=drop)
        vertex = Vertex(drop_params=drop)
        # Keyed by `Direct.format` (container/config/providers.py).
        google = Gemini(drop_params=drop)
        self._translated: dict[str, Format] = {
            "anthropic": Fitted(Anthropic(drop_params=drop), drop_params=drop),
            "gemini": Fitted(google, drop_params=drop),
            "vertex_ai": Fitted(vertex, drop_params=drop),
        }
        self._to_engine = ToEngine(engine, drop_params=drop)
        self._to_claude = ToClaude(drop_params=drop)
        self._to_vertex_claude = ToVertexClaude(vertex, drop_params=drop)
        self._beside = responses.Beside(drop_params=drop)
        self._responses: dict[Format, Format] = {
            inner: OverChat(responses.TRANSLATED, inner, drop_params=drop)
            for inner in (self._engine, *self._translated.values())
        }
        self._responses[self._openai] = responses.PassingOrChat(self._openai, drop_params=drop)
        self._over_chat: dict[Format, Format] = {
            inner: OverChat(messages.TRANSLATED, inner, drop_params=drop)
            for inner in (self._openai, *self._translated.values())
        }

        self._to_gemini: dict[str, Format] = {
            "gemini": gemini_api.ToGemini(google, drop_params=drop),
            "vertex_ai": gemini_api.ToGemini(vertex, drop_params=drop),
        }
        self._content_over_chat: dict[Format, Format] = {
            inner: OverChat(gemini_api.TRANSLATED, inner, drop_params=drop)
            for inner in (self._openai, self._engine, *self._translated.values())
        }
        self._embeddings_over: dict[Format, Format] = {
            inner: gemini_api.OverEmbeddings(inner) for inner in (self._openai, self._engine)
        }

    def of(self, d: Deployment, model: str, endpoint: str) -> Format:
        if endpoint in messages.ENDPOINTS:
            return self._messages(d, model)
        if endpoint in responses.BESIDE:
            return self._beside
        if endpoint == responses.ENDPOINT:
            return self._responses[self.of(d, model, "chat_completions")]
        if endpoint in gemini_api.ENDPOINTS:
            return self._content(d, model, endpoint)
        if d.kind != "direct":
            return self._engine
        if d.format == "openai":
            return self._openai
        # The model of a wildcard deployment is only known at this point.
        takes = endpoint == "chat_completions" and DIRECT[d.provider].takes(model)
        return self._translated[d.format] if takes else self._engine

    def _messages(self, d: Deployment, model: str) -> Format:
        """The format for Anthropic's Messages API."""
        if d.kind == "direct" and d.format == "anthropic":
            return self._to_claude
        if d.kind == "direct" and d.format == "vertex_ai" and is_claude(model):
            return self._to_vertex_claude
        inner = self.of(d, model, "chat_completions")
        if inner is self._engine:
            return self._to_engine
        return self._over_chat[inner]

    def _content(self, d: Deployment, model: str, endpoint: str) -> Format:
        """The format for Gemini's API. Vertex AI has other methods for embeddings."""
        embeds = endpoint in GOOGLES_EMBEDDINGS
        reached = d.kind == "direct" or (embeds and bool(d.base))
        native = self._to_gemini.get(d.format) if reached else None
        if native is not None and not (is_claude(model) or (embeds and d.format == "vertex_ai")):
            return native
        if embeds:
            return self._embeddings_over[self.of(d, model, "embeddings")]
        return self._content_over_chat[self.of(d, model, "chat_completions")]

    def counts_itself(self, d: Deployment, model: str) -> bool:
        """Whether the provider counts tokens for clients of Gemini's API."""
        return d.kind == "direct" and self._content(d, model, GOOGLES_COUNT) is self._to_gemini.get(d.format)


__all__ = ["Format", "Formats", "Malformed", "Sent", "Unreachable", "Unsupported", "messages", "responses"]
