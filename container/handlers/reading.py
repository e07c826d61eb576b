"""A request's body as its endpoint understands it: read, checked, and somebody there who could answer."""

from worker.api.endpoints import Endpoint
from worker.ledger import charges
from worker.ledger.estimate import Prompt, prompt

from ..accounting import check_models
from ..exchange import Exchange
from ..request.asked import Asked
from ..request.completion import Completion, parse
from ..request.engine_body import FormBody, read_body
from ..request.messages import parse_messages
from ..routing.router import Router
from ..routing.strategies import USAGE_BASED
from .drive import admit

# How much a file comes to is not known before it is sent.
_FILE = Prompt(0, 0, ("file",))
# Of a picture, a sound or a file, for routing by usage. What it takes is known when the answer comes.
_TOKENS_EACH = 1000


class Reading:
    """The same for a request that is served at once and for one that is parked."""

    def __init__(self, router: Router, max_body_mb: float) -> None:
        self._router = router
        self.max_body_mb = max_body_mb

    async def asked(self, exchange: Exchange, endpoint: Endpoint) -> Asked:
        """Raises ApiError, ClientLeft."""
        if exchange.asked is not None:
            exchange.group = self._router.groups.label(exchange.asked.request.model)
            return exchange.asked
        return self.read(exchange, endpoint, await exchange.body(self.max_body_mb))

    def read(self, exchange: Exchange, endpoint: Endpoint, raw: bytes) -> Asked:
        """Raises ApiError 400 for a bad body, 403 for a model that the key may not use, 404, 503."""
        if endpoint.engine:
            request = read_body(endpoint, raw, exchange.header("content-type") or "")
        elif exchange.anthropic:
            request = parse_messages(endpoint.name, raw, exchange.header("anthropic-beta") or "")
        else:
            request = parse(endpoint.name, raw)
        exchange.group = self._router.groups.label(request.model)
        check_models(exchange, request.route)
        admit(self._router, request.route)
        if isinstance(request, FormBody):
            return Asked(request, {}, charges.of_form(endpoint.name, request.count), _FILE)
        fields = request.body if isinstance(request, Completion) else request.fields
        size = None
        if self._router.options.routing_strategy == USAGE_BASED:
            size = prompt(fields)
            request.route = request.route._replace(tokens=min(request.route.tokens, _tokens(size)))
        return Asked(request, fields, charges.of_body(endpoint.name, fields), size)


def _tokens(size: Prompt) -> int:
    """About what the prompt comes to: its bytes say nothing where they are a picture, a sound or a file."""
    return size.tokens() + _TOKENS_EACH * (size.images + len(size.unbounded))
