"""How one attempt at one deployment ended."""

from typing import Literal, NamedTuple

Kind = Literal[
    "ok",
    "caller",  # the request itself is at fault; nobody else would take it either
    "unsupported",  # it holds a field that this deployment does not have
    "context_window",  # too long for this model
    "content_policy",  # refused by the provider's filter
    "rate_limit",
    "authentication",  # our key or our configuration: another deployment may do
    "not_found",
    "timeout",
    "connection",
    "server",  # 5xx, or an answer that is no answer
]

# A second try at the same deployment can help only here.
TRANSIENT: frozenset[Kind] = frozenset({"rate_limit", "connection", "server"})
# What says something about the health of a deployment.
UNHEALTHY: frozenset[Kind] = frozenset({"rate_limit", "authentication", "not_found", "timeout", "connection", "server"})
# Of those the ones that are only counted: several of them cool a deployment, and one of the others does.
COUNTED: frozenset[Kind] = frozenset({"timeout", "connection", "server"})


class Outcome(NamedTuple):
    """`status` is the provider's, 0 where it gave none; `retry_after` in seconds, as the provider asked for.

    `message` is fit for the client; `code` and `param` are the provider's own for the caller's mistakes; `headers` are
    those of the provider that may reach the client. `final`: nobody else can take over, as the client has part of the
    answer or no more time. `client_timeout`: the client's own limit of time was over, which says nothing about the
    deployment. `unread`: the provider said that it had done its work, and what came could not be read: it may charge.
    `blameless`: what the model made of this request says nothing about the deployment.
    `latency` in seconds: to the first token of a stream, per output token otherwise. `tokens`: used in all.
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
