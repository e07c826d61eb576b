"""What operators ask the edge for: the admin API, whose calls are forwarded to the ledger object, and the metrics.

Imported with the first such request.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from pyodide.ffi import JsException

from core.api import admin
from core.api.endpoints import Endpoint
from core.api.errors import ApiError, body_too_large, invalid_request, service_unavailable
from core.api.health import RUNNING

from .admission import Presented
from .messages import Client, forward, json_response, plain_response, read_body, refuse_compressed, without_body
from .requests import can_be_parsed
from .runtime.javascript import bindings, or_none, variable
from .runtime.log import log
from .stubs import Instances, LedgerClient, LedgerUnavailable

_MAX_BYTES = int(admin.ADMIN_BODY_MB * 1024 * 1024)
_METRICS = "/metrics"
_METRIC_HELP = "Whether a container runs; 0 while it sleeps."


async def administer(
    ledger: LedgerClient, client: Client, endpoint: Endpoint, path: str, query: str, who: Presented
) -> Any:
    """Returns a JS response. `query`: without the question mark.

    Raises ApiError 401, 403, 400 naming the field, 404 for a key, or 503.
    """
    credential = who.credential
    if not who.administrator and (
        credential is None or ("key" in credential and admin.is_for_operators(endpoint.name))
    ):
        raise admin.operators_only()
    call = admin.call(endpoint, path, query, await _body(client), variable(bindings(), "LITELLM_MASTER_KEY"))
    try:
        if credential is None:
            result = await ledger.call("administer", call)
        else:
            # A method of its own: an older object, which knows no credentials, must not take it for the master key's.
            result = await ledger.call("administer_as", {"call": call, "credential": credential})
    except LedgerUnavailable as error:
        log("error", "ledger_unavailable", request_id=client.id, reason=str(error))
        raise service_unavailable(
            "The ledger cannot be used now. The operation may or may not have been done."
        ) from None
    if endpoint.methods == ("POST",):
        log("info", "admin", request_id=client.id, call=endpoint.name, status=result.get("status", 200))
    response = json_response(200, admin.answer(result))
    return await without_body(response) if client.method == "HEAD" else response


async def _body(client: Client) -> bytes:
    """Reads the body. Raises ApiError 400, 411, 413 or 415."""
    if or_none(client.request.body) is None:
        return b""
    refuse_compressed(client)
    length = client.headers.get("content-length")
    if length is None:  # without it, the isolate cannot bound what it reads
        raise ApiError(411, "invalid_request_error", "Send the body with a Content-Length.", code="length_required")
    if int(length) > _MAX_BYTES:
        raise body_too_large(admin.ADMIN_BODY_MB)
    content = (await read_body(client)).to_bytes()
    if not can_be_parsed(content):
        raise invalid_request("The body is nested too deeply.", code="invalid_json")
    return content


async def scrape(
    instances: Instances, client: Client, query: str, states: Mapping[str, str], *, by_master: bool
) -> Any:
    """Returns the states of all containers and the metrics of a running one. It wakes none.

    `states`: the current state of every instance. Raises ApiError 400, 403 or 503.
    """
    if not by_master:
        raise admin.operators_only()
    names = list(states)
    name = parse_qs(query).get("instance", names[:1])[0]
    if name not in names:
        raise invalid_request(f"The instances are {', '.join(names)}.", param="instance")
    text = exposition(states)
    if states[name] == RUNNING:
        try:
            found = await instances.answer(
                lambda fetch: forward(fetch, client, _METRICS, ()), [name], client, stand_in=False
            )
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
    return f"# HELP {name} {_METRIC_HELP}\n# TYPE {name} gauge\n{''.join(lines)}"
