"""A request that has been read, whatever its endpoint."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from worker.ledger.charges import Charge
from worker.ledger.estimate import Prompt

from .completion import Completion
from .engine_body import FormBody, JsonBody

Request = Completion | JsonBody | FormBody


class Asked(NamedTuple):
    """`fields` and `charge`: what it is charged by; `prompt`: its size, None while that has not been estimated."""

    request: Request
    fields: Mapping[str, Any]
    charge: Charge
    prompt: Prompt | None = None
