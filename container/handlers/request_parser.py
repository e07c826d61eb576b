"""Parses and validates a request's body, and checks that a deployment can serve it."""

from worker.core.api import google
from worker.core.api.endpoints import Endpoint
from worker.core.pricing import prices
from worker.core.pricing.estimate import Prompt, prompt
from worker.core.values import claims

from ..accounting.accounting import check_models
from ..request import responses
from ..request.completion import Completion, parse
from ..request.engine_body import FormBody, ParsedRequest, read_body
from ..request.generate_content import parse_generate_content
from ..request.messages import parse_messages
from ..routing.router import USAGE_BASED, Router
from ..server.context import RequestContext
from .attempts import require_routable
from .response_state import ENDPOINTS as STATEFUL
from .response_state import ResponseState

# The cost of processing a file is unknown before it is sent.
_FILE = Prompt(0, 0, ("file",))
# Assumed tokens of an image, audio or file for usage-based routing. The response tells the actual number.
_TOKENS_EACH = 1000


class RequestParser:
    """Used for requests that are served at once and for those that are parked."""

    def __init__(self, router: Router, max_body_mb: float, state: ResponseState) -> None:
        self._router = router
        self._state = state
        self.max_body_mb = max_body_mb

    async def asked(self, context: RequestContext, endpoint: Endpoint) -> ParsedRequest:
        """Return the parsed request. Raises ApiError, ClientLeft."""
        if context.asked is not None:
            context.group = self._router.groups.label(context.asked.request.route.model)
            return context.asked
        parsed = self.read(context, endpoint, await context.body(self.max_body_mb))
        request = parsed.request
        if isinstance(request, Completion) and request.stored is not None and await self._state.load(context, request):
            parsed = parsed._replace(prompt=self._state.size(request))
        return parsed

    def read(self, context: RequestContext, endpoint: Endpoint, raw: bytes) -> ParsedRequest:
        """Raises ApiError 400 for a bad body, 403 for a model that the key may not use, 404, or 503."""
        if endpoint.engine:
            request = read_body(endpoint, raw, context.header("content-type") or "")
        elif endpoint.name in STATEFUL:
            request = responses.parse_responses(raw, endpoint.name)
        elif context.dialect == "anthropic":
            request = parse_messages(endpoint.name, raw, context.header("anthropic-beta") or "")
        elif context.dialect == "google":
            events = google.wants_events(context.query)
            request = parse_generate_content(endpoint.name, raw, google.model_of(context.path), events=events)
        else:
            request = parse(endpoint.name, raw)
        request.claims = claims.with_headers(request.claims, context.headers, self._router.options.user_headers)
        if context.aliases:
            caller, route = context.caller, request.route
            request.route = route.resolved(context.aliases if caller is None else caller.aliases_with(route.model))
        context.group = self._router.groups.label(request.route.model)
        check_models(context, request.route)
        size = None
        if isinstance(request, Completion) and endpoint.name in STATEFUL:
            size = self._state.resolve(context, request)
        require_routable(self._router, request.route)
        if isinstance(request, FormBody):
            return ParsedRequest(request, {}, prices.charge_of_form(endpoint.name, request.count), _FILE)
        fields = request.priced if isinstance(request, Completion) else request.fields
        if self._router.options.routing_strategy == USAGE_BASED:
            size = size or prompt(fields)
            request.route = request.route._replace(tokens=min(request.route.tokens, _tokens(size)))
        return ParsedRequest(request, fields, prices.charge_of_body(endpoint.name, fields), size)


def _tokens(size: Prompt) -> int:
    """Estimate the prompt's tokens. Images, audio and files count as a flat number, because their bytes say nothing."""
    return size.tokens() + _TOKENS_EACH * (size.images + len(size.unbounded))
