"""Asks a provider for a response that it has stored."""

from typing import Any
from urllib.parse import quote, urlencode

from ..config.deployment import Deployment
from ..formats.shared import failure, prepare
from ..formats.shared.answer import json_object
from ..http_client.client import Client
from ..http_client.deadline import Deadline
from ..http_client.proxies import Proxies
from ..http_client.request import HttpError
from ..routing.outcome import Outcome
from .attempt import read_error


class StoredAtProvider:
    """`timeout`: in seconds, for deployments without one."""

    def __init__(self, *, connect_timeout: float, timeout: float, proxies: Proxies | None) -> None:
        self._client = Client(connect_timeout=connect_timeout, proxies=proxies)
        self._timeout = timeout

    async def close(self) -> None:
        await self._client.close()

    async def ask(
        self, d: Deployment, method: str, id: str, tail: str, query: dict[str, str]
    ) -> dict[str, Any] | Outcome:
        """Return the provider's JSON object, or the failure. `tail`: the rest of the path after the id."""
        where = prepare.address(d)
        base, _, own = prepare.url(d, where.base, d.model, "responses").partition("?")
        parameters = "&".join(part for part in (own, urlencode(query)) if part)
        url = f"{base}/{quote(id, safe='')}{tail}" + (f"?{parameters}" if parameters else "")
        limit = d.timeout or self._timeout
        response = None
        try:
            with Deadline(limit):
                response = await self._client.bare(method, url, where.headers)
                if response.status != 200:
                    return failure.from_response(response.status, response.headers, await read_error(response))
                return json_object(await response.read())
        except TimeoutError:
            return Outcome("timeout", 0, f"The provider did not answer within {limit:g} s.")
        except (HttpError, OSError):
            return Outcome("connection", 0, "The provider cannot be reached.")
        finally:
            if response is not None:
                response.close()
