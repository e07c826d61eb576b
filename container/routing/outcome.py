"""The outcome of one attempt at one deployment."""

from typing import Literal, NamedTuple

Kind = Literal[
    "ok",
    "caller",  # the request is invalid; every deployment would refuse it
    "unsupported",  # the request has a field that this deployment does not support
    "context_window",  # too long for this model
    "content_policy",  # refused by the provider's filter
    "rate_limit",
    "authentication",  # our key or configuration is wrong; another deployment may work
    "not_found",
    "timeout",
    "connection",
    "server",  # 5xx, or an invalid response
]

# Only these are worth retrying on the same deployment.
TRANSIENT: frozenset[Kind] = frozenset({"rate_limit", "connection", "server"})
# Failures that count against a deployment's health.
UNHEALTHY: frozenset[Kind] = frozenset({"rate_limit", "authentication", "not_found", "timeout", "connection", "server"})
# Of those, failures that start a cooldown only after several; one of any other kind does.
COUNTED: frozenset[Kind] = frozenset({"timeout", "connection", "server"})


class Outcome(NamedTuple):
    """The result of an attempt.

    status           the provider's status, 0 without one
    message          safe to show to the client
    retry_after      seconds, as requested by the provider
    code, param      the provider's own, for invalid requests
    headers          the provider's headers that may reach the client
    final            no other deployment can take over: the client has part of the response, or has run out of time
    client_timeout   the client's own timeout has passed, which says nothing about the deployment
    unread           the provider reported success but its response could not be read, so it may charge for it
    blameless        the failure may be due to this request, so it does not count against the deployment
    latency          seconds: to the first token of a stream, else per output token
    tokens           total tokens used
    """

    kind: Kind
    status: int = 0
    message: str = ""
    retry_after: float | None = None
    code: str | None = None
    param: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    final: bool = False
    client_timeout: bool = False
    unread: bool = False
    blameless: bool = False
    latency: float | None = None
    tokens: int = 0

    @property
    def ok(self) -> bool:
        return self.kind == "ok"


OK = Outcome("ok", 200)
