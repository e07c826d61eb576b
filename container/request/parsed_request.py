"""A request that has been read, whatever its endpoint."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from worker.core.pricing.estimate import Prompt
from worker.core.pricing.quote import Charge

from .completion import Completion
from .engine_body import FormBody, JsonBody

Request = Completion | JsonBody | FormBody


class ParsedRequest(NamedTuple):
    """`fields` and `charge`: what it is charged by; `prompt`: its size, None while that has not been estimated."""

    request: Request
    fields: Mapping[str, Any]
    charge: Charge
    prompt: Prompt | None = None
