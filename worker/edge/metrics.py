"""`/metrics` at the edge: the states of all containers and the metrics of a running one. It wakes no container."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from pyodide.ffi import JsException

from core.api.admin import operators_only
from core.api.errors import invalid_request, service_unavailable
from core.api.health import RUNNING

from .forwarding import Client, Instances, container_request
from .responses import plain_response

PATH = "/metrics"
_HELP = "Whether a container runs; 0 while it sleeps."


async def scrape(
    instances: Instances, client: Client, query: str, states: Mapping[str, str], *, by_master: bool
) -> Any:
    """`states`: the current state of every instance. Raises ApiError 400, 403 or 503."""
    if not by_master:
        raise operators_only()
    names = list(states)
    name = parse_qs(query).get("instance", names[:1])[0]
    if name not in names:
        raise invalid_request(f"The instances are {', '.join(names)}.", param="instance")
    text = exposition(states)
    if states[name] == RUNNING:
        try:
            found = await instances.answer(lambda: container_request(client, PATH, ()), [name], client, stand_in=False)
            said = await found.response.text()
        except JsException:
            raise service_unavailable("The container ended while sending its metrics.", 1) from None
        if found.response.status != 200:
            raise service_unavailable("The container did not say its metrics.", 5)
        text += said
    return plain_response(text)


def exposition(states: Mapping[str, str]) -> str:
    """Returns the states of the instances in Prometheus' text format."""
    name = "litellm_router_container_running"
    lines = [f'{name}{{instance_name="{one}"}} {int(state == RUNNING)}\n' for one, state in states.items()]
    return f"# HELP {name} {_HELP}\n# TYPE {name} gauge\n{''.join(lines)}"
