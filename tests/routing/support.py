"""Configurations and a virtual clock for routing tests."""

from collections.abc import Iterable
from typing import Any

from container.config.deployment import Deployment
from container.config.load import Config, Options
from container.routing.health import OK, Outcome
from container.routing.router import Pause, Router, RouteRequest, Try

SERVER_ERROR = Outcome("server", 500, "boom")
RATE_LIMIT = Outcome("rate_limit", 429, "slow down")
UNSUPPORTED = Outcome("unsupported", 400, "no such field")


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def deployment(group: str, name: str, **fields: Any) -> Deployment:
    return Deployment(
        id=name,
        group=group,
        provider="openai",
        model=fields.pop("model", name),
        kind="direct",
        needs=(),
        off=fields.pop("off", ()),
        **fields,
    )


def config(deployments: Iterable[Deployment], **options: Any) -> Config:
    deployments = tuple(deployments)
    groups: dict[str, tuple[Deployment, ...]] = {}
    for d in deployments:
        groups[d.group] = (*groups.get(d.group, ()), d)
    return Config(deployments, Options(**options), groups=groups)


def run(router: Router, request: RouteRequest | str, answers, clock: Clock | None = None) -> list[str]:
    """The plan's steps as deployment ids and `pause`. `answers` maps ids to an Outcome or a list of successive ones."""
    if isinstance(request, str):
        request = RouteRequest(request)
    queues = {name: list(a) if isinstance(a, list) else a for name, a in answers.items()}
    done: list[str] = []
    plan = router.route(request)
    step = next(plan, None)
    while step is not None:
        if isinstance(step, Pause):
            done.append("pause")
            if clock:
                clock.now += step.seconds
            outcome = None
        else:
            assert isinstance(step, Try)
            name = step.target.deployment.id
            done.append(name)
            answer = queues.get(name, OK)
            outcome = answer.pop(0) if isinstance(answer, list) else answer
        try:
            step = plan.send(outcome)
        except StopIteration:
            step = None
    return done
