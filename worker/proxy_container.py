"""The Durable Object that owns one container: starts it, finds it again, passes requests on to it."""

from typing import Any

from pyodide.ffi import JsException
from workers import DurableObject

from api import errors
from api.health import UNAVAILABLE
from api.hop import NO_INSTANCE_HEADER, REQUEST_ID_HEADER, TOKEN_HEADER
from catalog import CATALOG
from container_life import settings
from container_life.engine import CloudflareContainer, never_connected
from container_life.environment import container_environment
from container_life.lifecycle import Lifecycle, NotServing
from container_life.record import StoredRecord
from edge.respond import error_response
from runtime.javascript import bindings, error_text, js, or_none, variable
from runtime.log import log


class ProxyContainer(DurableObject):
    """Named proxy-0, proxy-1, …; each has a container of its own."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        container = or_none(ctx.container)
        self._served = None if container is None else _Served(container, ctx.storage)

    async def state(self) -> str:
        """`running`, `sleeping` or `unavailable`; wakes nothing."""
        return UNAVAILABLE if self._served is None else self._served.life.state

    async def ready(self) -> dict[str, Any]:
        """Wakes the container. What went wrong is told and not raised: RPC would lose it on its way."""
        try:
            await self._container().life.ready()
        except NotServing as failure:
            return {"serves": False, "reason": str(failure), "retry_after": failure.retry_after}
        return {"serves": True}

    async def fetch(self, request: Any) -> Any:
        """The container's response as it came, or a 503; one with NO_INSTANCE_HEADER has sent nothing anywhere."""
        incoming = request.js_object
        try:
            return await self._container().answer(incoming)
        except NotServing as failure:
            log("warning", "container.not_serving", request_id=_request_id(incoming), reason=str(failure))
            refusal = errors.service_unavailable("The container cannot serve now.", round(failure.retry_after))
            refusal.headers.append((NO_INSTANCE_HEADER, "1"))
        except JsException as error:
            log("error", "container.lost", request_id=_request_id(incoming), reason=error_text(error))
            refusal = errors.service_unavailable("The container went away before it had answered.", retry_after=1)
        return error_response(refusal)

    def _container(self) -> "_Served":
        if self._served is None:
            raise NotServing("no container is configured for this Durable Object", retry_after=60)
        return self._served


def _request_id(request: Any) -> str | None:
    return or_none(request.headers.get(REQUEST_ID_HEADER))


class _Served:
    """A container and its life, and requests on their way to it."""

    def __init__(self, container: Any, storage: Any) -> None:
        env = bindings()
        limits = settings.read(lambda name: variable(env, name))
        for problem in limits.problems:
            log("warning", "setting.ignored", reason=problem)
        self._engine = CloudflareContainer(container)
        self.life = Lifecycle(
            self._engine,
            StoredRecord(storage),
            lambda: container_environment(CATALOG["environment"], lambda name: variable(env, name)),
            CATALOG["hash"],
            limits,
            log,
        )
        self.life.adopt()

    async def answer(self, incoming: Any) -> Any:
        """Sends a request once; again only if nothing of it has left. Raises NotServing, JsException."""
        try:
            return await self._send(incoming)
        except JsException as error:
            self.life.doubt()
            if or_none(incoming.body) is not None or not never_connected(error):
                raise
        return await self._send(incoming)

    async def _send(self, incoming: Any) -> Any:
        token = await self.life.ready()
        outgoing = js.Request.new(incoming)  # a copy, as the headers of the original cannot be changed
        outgoing.headers.set(TOKEN_HEADER, token)
        return await self._engine.fetch(outgoing)
