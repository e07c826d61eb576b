"""The interface of a wire format. docs/providers.md explains how to write one."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from ...config.deployment import Deployment
from ...request.completion import Completion
from ...routing.health import Kind, Outcome
from .answer import Events, Plain
from .prepare import Address


class Sent(NamedTuple):
    """A request in the provider's format.

    `headers` override those of the address. `note` holds whatever the format needs to read the response. `endpoint` is
    set if it differs from the endpoint of the client's request. `stands` is the refusal that led to this request: if
    this request is refused as well, the client receives the earlier refusal. `names` maps the tool names sent to the
    client's names, where they differ.
    """

    body: bytes
    headers: Mapping[str, str] | None = None
    note: Any = None
    endpoint: str | None = None
    stands: Outcome | None = None
    names: Mapping[str, str] | None = None


class Unsupported(Exception):
    """The provider does not accept the field `param`. The message may be shown to the client."""

    kind: Kind = "unsupported"
    code: str | None = "unsupported_parameter"

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param

    def outcome(self) -> Outcome:
        return Outcome(self.kind, 400, str(self), code=self.code, param=self.param)


class Malformed(Unsupported):
    """The request is invalid for any provider, and dropping the field would not help."""

    kind = "caller"
    code = None


class Unreachable(Exception):
    """The address or the credentials of a deployment are unavailable. `outcome` gives the reason."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class Format(Protocol):
    """A provider's wire format. One object serves all requests. Only `address` performs I/O."""

    async def address(self, d: Deployment, patience: float) -> Address:
        """The base URL of the deployment and its headers, computed once if they are constant.

        `patience` is in seconds. Raises EngineUnavailable and Unreachable.
        """
        ...

    def url(self, d: Deployment, base: str, model: str, endpoint: str, *, stream: bool) -> str: ...

    def request(self, d: Deployment, model: str, request: Completion) -> Sent:
        """Builds the request. Raises Unsupported for an unsupported field, unless `drop_params` permits dropping it."""
        ...

    def again(self, d: Deployment, model: str, request: Completion, sent: Sent, refusal: Outcome) -> Sent | None:
        """Called when the provider blames the request. Returns a modified request, or None to accept the refusal."""
        ...

    def plain(self, raw: bytes, name: str, sent: Sent) -> Plain | Outcome:
        """Parses a complete response with status 200. `name` is the model's public name."""
        ...

    def events(self, name: str, request: Completion, sent: Sent) -> Events: ...

    def failure(self, status: int, headers: Mapping[str, str], raw: bytes) -> Outcome:
        """Maps a response with any other status to a failure."""
        ...
