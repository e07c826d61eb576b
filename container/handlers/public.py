"""Endpoints that call no provider: about the gateway itself, which are health, `/metrics`, `/openapi.json` and
`/dashboard`; and about the models that a key may use and the state of their deployments, which are `/models`,
`/models/{id}` and `/model/info`.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson

from worker import dashboard
from worker.core import openapi
from worker.core.api import admin, health
from worker.core.api.admin import operators_only
from worker.core.api.endpoints import dashboard_file
from worker.core.api.errors import Dialect, invalid_request, model_not_found, unknown_path
from worker.core.api.google import KEY_HEADER
from worker.core.api.health import RUNNING
from worker.core.ledger import keys

from .. import VERSION
from ..accounting.accounting import NoAccounting
from ..accounting.edge import Accounts
from ..config.deployment import Deployment, price_map
from ..config.load import Config
from ..engine import Engine
from ..formats.shared.capabilities import capabilities
from ..observability import metrics
from ..observability.metrics import CONTENT_TYPE, Family, Gauge, Total
from ..routing.router import Groups, Router, Target
from ..server.context import RequestContext
from .attempts import model_off


async def serve_dashboard(context: RequestContext) -> None:
    """Serve a file of the dashboard. Raises ApiError 404."""
    name = dashboard_file(context.path) or dashboard.PAGE
    answer = dashboard.answer(name, context.header("if-none-match"))
    if answer is None:
        raise unknown_path(context.path)
    context.respond(answer.status, answer.content, answer.headers, answer.content_type)


class Health:
    """Implements `health.Door`. `refusal`: why requests are refused, or None."""

    def __init__(self, models: list[str], engine: Engine, accounting: Accounts, refusal: str | None = None) -> None:
        self.models = models
        self.refusal = refusal
        self._engine = engine
        self._accounting = accounting

    async def behind(self) -> dict[str, str]:
        return {"engine": self._engine.state}

    async def ledger_usable(self) -> bool:
        return await self._accounting.usable()

    async def __call__(self, context: RequestContext) -> None:
        status, body, headers = await health.answer(context.endpoint, self)
        context.respond(status, orjson.dumps(body), headers)

    async def description(self, context: RequestContext) -> None:
        context.respond(200, openapi.text().encode())


ENGINE_STATES = ("idle", "starting", "running")
_DEPLOYMENT = ("model", "deployment")


class Sums(NamedTuple):
    """What the process that keeps the ledger knows of all workers. `text`: everything that is counted."""

    text: str
    running: int
    unsettled: int
    open: int


AllWorkers = Callable[[], Awaitable[Sums]]


class Metrics:
    """`public`: no key is needed, or it was checked elsewhere. `running`: number of requests in flight. `all_workers`:
    None if this is the only process."""

    def __init__(
        self,
        router: Router,
        engine: Engine,
        accounting: Accounts,
        running: Callable[[], int],
        all_workers: AllWorkers | None = None,
        *,
        public: bool,
    ) -> None:
        self._all_workers = all_workers
        self._router = router
        self._engine = engine
        self._accounting = accounting
        self._running = running
        self._public = public

    async def __call__(self, context: RequestContext) -> None:
        """Raises ApiError 403 for virtual keys."""
        if not (self._public or context.administrator):
            raise operators_only()
        if self._all_workers is None:
            sums = Sums(metrics.text(metrics.RECORDED), self._running(), *self._reports())
            text = sums.text + metrics.text((*self.state(sums), *metrics.families()))
        else:
            sums = await self._all_workers()
            text = sums.text + metrics.text(self.state(sums))
        context.respond(200, text.encode(), [("cache-control", "no-store")], CONTENT_TYPE)

    def _reports(self) -> tuple[int, int]:
        accounting = self._accounting
        return (0, 0) if isinstance(accounting, NoAccounting) else (accounting.unsettled, accounting.open)

    def state(self, sums: Sums) -> list[Family]:
        """Gauges for the current state."""
        now = time.monotonic()
        known = [
            ((d.group, d.id), self._router.health[d.id])
            for members in self._router.groups.members.values()
            for d in members
            if not d.off
        ]
        found: list[Family] = [
            Gauge("litellm_router_info", "The running version.", ("version",), [((VERSION,), 1)]),
            _one("litellm_router_requests_in_flight", "Requests in flight.", sums.running),
            Gauge(
                "litellm_router_deployment_requests_in_flight",
                "Attempts in flight at a deployment.",
                _DEPLOYMENT,
                [(labels, health.in_flight) for labels, health in known],
            ),
            Gauge(
                "litellm_router_deployment_cooldown_seconds",
                "Remaining cooldown of a deployment, 0 if it is healthy.",
                _DEPLOYMENT,
                [(labels, round(max(0.0, health.cooling_until - now), 3)) for labels, health in known],
            ),
            Total(
                "litellm_router_cooldowns_total",
                "Cooldowns caused by a deployment's failures.",
                _DEPLOYMENT,
                [(labels, health.cooldowns) for labels, health in known],
            ),
            Gauge(
                "litellm_router_engine_state",
                "1 for the engine's current state.",
                ("state",),
                [((state,), int(state == self._engine.state)) for state in ENGINE_STATES],
            ),
        ]
        if not isinstance(self._accounting, NoAccounting):
            found += [
                _one(
                    "litellm_router_ledger_unsettled_reports",
                    "Finished requests that are not settled in the ledger yet.",
                    sums.unsettled,
                ),
                _one(
                    "litellm_router_ledger_open_reservations",
                    "Open reservations of this proxy.",
                    sums.open,
                ),
            ]
        return found


def _one(name: str, help: str, value: float) -> Gauge:
    return Gauge(name, help, values=[((), value)])


# Models.

# Creation times are unknown, but clients expect one.
_CREATED = 1677610602
_CREATED_AT = "2023-02-28T18:56:42Z"
_MOST = 1000
# Google's default.
_PAGE = 50
_GENERATES = ("generateContent", "streamGenerateContent", "countTokens")
_EMBEDS = ("embedContent", "batchEmbedContents")


class Models:
    """The models that wildcards match are listed on first use."""

    def __init__(self, config: Config, groups: Groups) -> None:
        self._groups = groups
        self._config = config
        self.on = [name for name in groups.names if any(not d.off for d in config.groups.get(groups.group(name), ()))]
        hidden = config.options.hidden_aliases
        self._concrete = [name for name in self.on if "*" not in name and name not in hidden]
        self._everything: tuple[str, ...] | None = None
        self._reading = asyncio.Lock()

    async def list(self, context: RequestContext) -> None:
        """List the models that the key may use. Raises ApiError 400."""
        context.dialect = _dialect(context)
        found = await self._names()
        if context.models != "[]":
            found = _allowed(found, context)
        if context.aliases:
            aliases = [name for name, model in context.aliases.items() if self._is_on(model)]
            found = [*(name for name in found if name not in context.aliases), *aliases]
        if context.dialect == "anthropic":
            context.respond(200, orjson.dumps(_page(found, context)))
        elif context.dialect == "google":
            context.respond(200, orjson.dumps(self._googles_page(found, context)))
        else:
            context.respond(200, orjson.dumps({"object": "list", "data": [_model(name) for name in found]}))

    async def one(self, context: RequestContext, name: str) -> None:
        """Return one model. A model that is off answers 503 and says what to set, as it does for a chat request."""
        context.dialect = _dialect(context)
        targets = self._groups.targets(context.aliases.get(name, name))
        if not targets or not keys.allows(context.models, name):
            raise model_not_found(name, _allowed(self.on, context))
        if all(t.deployment.off for t in targets):
            raise model_off(name, targets)
        described = {"anthropic": _anthropics, "google": lambda name: self._googles(name, targets), "openai": _model}
        context.respond(200, orjson.dumps(described[context.dialect](name)))

    def _googles_page(self, found: Sequence[str], context: RequestContext) -> dict[str, Any]:
        """Return one page in Google's format. A page's token is the name of its first model. Raises ApiError 400."""
        query = dict(parse_qsl(context.query))
        size = query.get("pageSize") or str(_PAGE)
        if not (size.isascii() and size.isdigit() and int(size[:6])):
            raise invalid_request("'pageSize' has to be a whole number greater than 0.", param="pageSize")
        token = query.get("pageToken")
        if token and token not in found:
            raise invalid_request("'pageToken' is not one of a page.", param="pageToken")
        first = found.index(token) if token else 0
        last = first + min(int(size[:6]), _MOST)
        targets = self._groups.targets
        shown = [self._googles(name, targets(context.aliases.get(name, name))) for name in found[first:last]]
        page: dict[str, Any] = {"models": shown}
        return {**page, "nextPageToken": found[last]} if last < len(found) else page

    def _googles(self, name: str, targets: Sequence[Target]) -> dict[str, Any]:
        """https://ai.google.dev/api/models#Model"""
        (target, *_) = targets
        d = target.deployment
        window, most = d.info.get("max_input_tokens"), capabilities(d, target.model).max_output
        limits = {"inputTokenLimit": window, "outputTokenLimit": most}
        embeds = d.info.get("mode") == "embedding" or "embedding" in target.model
        return {
            "name": f"models/{name}",
            "version": "",
            "displayName": name,
            "description": "",
            **{field: limit for field, limit in limits.items() if isinstance(limit, int)},
            "supportedGenerationMethods": list(_EMBEDS if embeds else _GENERATES),
        }

    def _is_on(self, model: str) -> bool:
        return any(not target.deployment.off for target in self._groups.targets(model))

    async def _names(self) -> tuple[str, ...]:
        async with self._reading:
            if self._everything is None:
                wild = [d for d in self._config.deployments if d.wildcard and not d.off]
                reached = wildcard_names(wild, await asyncio.to_thread(price_map)) if wild else []
                self._everything = tuple(dict.fromkeys((*self._concrete, *reached)))
            return self._everything


def _dialect(context: RequestContext) -> Dialect:
    """Anthropic's and Google's clients may ask at the path of OpenAI's, too. Their headers tell them apart."""
    if context.headers.get("anthropic-version") is not None:
        return "anthropic"
    return "google" if context.headers.get(KEY_HEADER) is not None else context.dialect


def _page(found: Sequence[str], context: RequestContext) -> dict[str, Any]:
    """Return one page in Anthropic's format: everything, unless the client asks for less. Raises ApiError 400."""
    query = dict(parse_qsl(context.query))
    limit = query.get("limit", str(_MOST))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:6]) <= _MOST):
        raise invalid_request(f"'limit' has to be a whole number from 1 to {_MOST}.", param="limit")
    for name in ("after_id", "before_id"):
        if name in query and query[name] not in found:
            raise invalid_request(f"'{name}' is not the id of a listed model.", param=name)
    if "after_id" in query and "before_id" in query:
        raise invalid_request("'after_id' and 'before_id' cannot be combined.", param="before_id")
    first = found.index(query["after_id"]) + 1 if "after_id" in query else 0
    last = min(first + int(limit), len(found))
    more = last < len(found)
    if "before_id" in query:
        last = found.index(query["before_id"])
        first = max(0, last - int(limit))
        more = first > 0
    page = [_anthropics(name) for name in found[first:last]]
    ends = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    return {"data": page, "has_more": more, "first_id": ends[0], "last_id": ends[1]}


def _allowed(wildcard_names: Sequence[str], context: RequestContext) -> list[str]:
    return [name for name in wildcard_names if keys.allows(context.models, name)]


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "litellm-router"}


def _anthropics(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": _CREATED_AT}


# The fields of `model_info` that clients use and that cannot contain secrets.
_SHOWN = re.compile(r"mode|base_model|max_\w*tokens|\w*cost\w*|supports_\w+|rpm|tpm")


class ModelInfo:
    """`vouched`: requests come from the edge, which has checked the key."""

    def __init__(self, config: Config, router: Router, *, vouched: bool) -> None:
        self._deployments = config.deployments
        self._router = router
        self._vouched = vouched

    async def __call__(self, context: RequestContext) -> None:
        """Raises ApiError 403."""
        of_everything = context.administrator or context.owner == "master" or (self._vouched and context.owner is None)
        if not of_everything and context.owner is None and context.person is None:
            raise admin.operators_only()
        data = [self._shown(d) for d in self._deployments]
        if not of_everything:
            data = keys.of_a_key(data, context.models)
        context.respond(200, orjson.dumps({"container": RUNNING, "data": data}), admin.HEADERS)

    def _shown(self, d: Deployment) -> dict[str, Any]:
        """Fields are listed explicitly because a deployment's config may contain secrets."""
        known = {name: value for name, value in d.info.items() if _SHOWN.fullmatch(name) and _is_plain(value)}
        return {
            "model_name": d.group,
            "litellm_params": {"model": f"{d.provider}/{d.model}"},
            "model_info": {**known, "id": d.id, "provider": d.provider, "kind": d.kind},
            "on": not d.off,
            "set": [need.replace("|", " or ") for need in d.off],
            "health": None if d.off else self._router.shown(d.id),
        }


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str) and not str(value).startswith("os.environ/")


# Azure deployment names are chosen by the user, so the price map does not know them.
_NAMELESS = frozenset(("azure", "azure_text"))


def wildcard_names(deployments: Iterable[Deployment], known: Mapping[str, Mapping[str, Any]]) -> list[str]:
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
