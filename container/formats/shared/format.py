"""What a wire format has to be able to do. docs/providers.md says how one is written."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from ...config.deployment import Deployment
from ...request.completion import Completion
from ...routing.outcome import Kind, Outcome
from .answer import Events, Plain
from .prepare import Address


class Sent(NamedTuple):
    """One request in the provider's words. `headers` go over those of the address; `note`: whatever the format wants
    to remember of the request until its answer has been read; `endpoint`: where it goes, if not to the request's own;
    `stands`: the refusal that it was made after, which the client is told if this one is refused, too; `names`: the
    client's names of tools, by those that went out, where they differ."""

    body: bytes
    headers: Mapping[str, str] | None = None
    note: Any = None
    endpoint: str | None = None
    stands: Outcome | None = None
    names: Mapping[str, str] | None = None


class Unsupported(Exception):
    """The request holds what the provider cannot take; `param` names the field. The message is fit for the client."""

    kind: Kind = "unsupported"
    code: str | None = "unsupported_parameter"

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param

    def outcome(self) -> Outcome:
        return Outcome(self.kind, 400, str(self), code=self.code, param=self.param)


class Malformed(Unsupported):
    """The request holds what no provider could take, and leaving it out would not mend it."""

    kind = "caller"
    code = None


class Unreachable(Exception):
    """A deployment's address or what opens it cannot be had now; `outcome` says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class Format(Protocol):
    """A provider's wire format; one object for all requests. Pure but for `address`."""

    async def address(self, d: Deployment, patience: float) -> Address:
        """Where the deployment is, and the headers that open it; those that do not change are worked out once.
        `patience` in seconds. Raises EngineUnavailable and Unreachable."""
        ...

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str: ...

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        """Raises Unsupported, naming the field, unless `drop_params` lets it be left out."""
        ...

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        """After a refusal that blames the request: what to send instead, None when the refusal stands."""
        ...

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        """A whole answer with status 200; `name`: the model's public name."""
        ...

    def events(self, name: str, request: Completion, sent: Sent) -> Events: ...

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        """An answer with another status."""
        ...
