"""A parsed request of any endpoint."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from worker.core.pricing.charge import Charge
from worker.core.pricing.estimate import Prompt

from .completion import Completion
from .engine_body import FormBody, JsonBody

Request = Completion | JsonBody | FormBody


class ParsedRequest(NamedTuple):
    """`fields` and `charge` determine the price. `prompt` is its size, or None before it is estimated."""

    request: Request
    fields: Mapping[str, Any]
    charge: Charge
    prompt: Prompt | None = None
