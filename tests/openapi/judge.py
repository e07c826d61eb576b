"""Calls that schemathesis makes up from `/openapi.json`, judged by what the description promises.

For each operation half of the calls fit its schema and half do not. None may be answered 5xx; those that fit are not
400, those that do not are refused, and every answer has a status, a type and a body that the description knows.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from container.request import authority
from worker.core.api.endpoints import KEY_REGENERATE, TABLE
from worker.core.api.openapi_schemas import COUNT
from worker.core.values.money import MAX_USD

# Asking for a model that nobody has says little, so most calls ask for one that there is.
MODELS = ("mock", "mock", None)


@dataclass
class Judge:
    """The API at `url` (with `/v1`), called with `headers`. `statuses`: of every call so far, by operation."""

    url: str
    headers: Mapping[str, str]
    statuses: dict[str, Counter[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.schema = schemathesis.openapi.from_dict(httpx.get(f"{self.url}/openapi.json").json())
        self.schema.config.generation.with_security_parameters = False
        self.schema.config.generation.allow_x00 = False  # which no database holds: refused, tested elsewhere

    def operation(self, name: str) -> Any:
        return self.schema.find_operation_by_id(name)

    def judge(self, name: str, examples: int, *, open_ended: bool = False) -> None:
        """Raises schemathesis' failures; AssertionError where most calls were stopped before their schema mattered.

        `open_ended`: not everything that fits the schema is taken, as the engine has a say in it.
        """
        operation = self.operation(name)
        headers = dict(self.headers)
        seen = self.statuses.setdefault(name, Counter())
        for mode, share in ((GenerationMode.POSITIVE, examples // 2), (GenerationMode.NEGATIVE, examples // 2)):
            if mode is GenerationMode.NEGATIVE and not operation.body and not operation.query:
                continue  # there is nothing that could be wrong

            @settings(
                max_examples=share,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=(Phase.explicit, Phase.generate),
            )
            @given(operation.as_strategy(generation_mode=mode))
            def call(case: Case) -> None:
                answer = case.call(base_url=self.url, headers=headers, timeout=30)
                seen[answer.status_code] += 1
                lenient = open_ended or b" already." in answer.content  # an alias or a secret that there is
                case.validate_response(
                    answer, headers=headers, excluded_checks=[positive_data_acceptance] if lenient else []
                )

            call()
        assert seen[401] <= sum(seen.values()) / 2, seen


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """What no schema can say: a model that there is; limits that fit each other; whole numbers without a fraction;
    no field that is the gateway's to decide; sizes that a test can bear. What does not fit the schema stays so."""
    if not isinstance(body, dict):
        return body
    body = {name: _whole(value) for name, value in body.items()}
    if TABLE.get(context.operation.path, KEY_REGENERATE).admin:
        soft, most = body.get("soft_budget"), body.get("max_budget")
        if _is_number(soft) and _is_number(most) and most < soft <= MAX_USD:
            del body["soft_budget"]
        return body
    body = {name: value for name, value in body.items() if not authority.forbidden((name,))}
    if isinstance(body.get("model"), str) and body["model"]:
        body["model"] = MODELS[len(body) % len(MODELS)] or body["model"]
    for name, most in (("dimensions", 1000), ("n", 10), ("best_of", 10)):
        if _is_number(body.get(name)) and most < body[name] <= COUNT["maximum"]:
            body[name] = most
    return body


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any) -> Any:
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53 else value
