"""The hop from the edge to the container: which of a client's headers go along, and what the edge adds.

The client's credentials and cookies stop at the edge, and no client can pose as the edge.
"""

from collections.abc import Iterable

TOKEN_HEADER = "x-internal-token"
REQUEST_ID_HEADER = "x-request-id"
# On a 503 from an object that has a container: it cannot serve now, another one may. Never leaves the edge.
NO_INSTANCE_HEADER = "x-internal-no-instance"
# Its value where a container has been told to end, and refuses what is new.
ENDING = "ending"
# Its value, and the object's state, where the object's class has no container at all.
NO_CONTAINER = "none"
# Its value where nobody listened in the container any more: the next request finds another one.
GONE = "gone"
# Its value where an object or a container has not got the configuration that the request goes by.
UNCONFIGURED = "unconfigured"
# What the ledger granted, as ASCII JSON: {"reservation": id, "amount": nano-dollars | null, "output_limit": int | null,
# "limited": bool, "models": [name, …] | null (all), "headers": [[name, value], …] for the answer, "owner": the hash of
# the virtual key or "master", "ack": int | null}; where nothing is reserved only "models". With "ack" the ledger
# has the journal up to that number, and the answer may carry its report.
GRANT_HEADER = "x-internal-grant"
# From the Worker to the object that keeps the ledger: what a request that is to be admitted there asks for, as ASCII
# JSON: {"ask": the fields of `ledger.admit.Ask` but its instance and lease, "add_limit": int | null,
# "tags": the request's, a JSON list or "", "configuration": as in CONFIGURATION_HEADER}.
ASK_HEADER = "x-internal-ask"
# The object's answer where the ledger has refused: the fields of `ledger.refusal`, as ASCII JSON.
REFUSAL_HEADER = "x-internal-refusal"
# From the container, on an answer in one piece, where the grant has an "ack": what the request came to, as ASCII JSON:
# [its number in the journal, the oldest number there, *the fields of `ledger.settle.Report`].
REPORT_HEADER = "x-internal-report"
# The hash of the edge's catalog: a container with another one would count by other prices.
CATALOG_HEADER = "x-internal-catalog"
# The name of the configuration that a request goes by, see `configuration`. Object and container hold several, as the
# Worker's and the objects' code change at different times.
CONFIGURATION_HEADER = "x-internal-configuration"
# So many configurations a container holds: those that it was given last. Its object counts the same way.
MOST_CONFIGURATIONS = 4
# The start id of the container that the reservation was made for, '' while that is not known.
INSTANCE_HEADER = "x-internal-instance"
# Paths at which the container answers its edge alone.
PARK_PREFIX = "/internal/park"  # and the client's path
GO_PREFIX = "/internal/go/"  # and the id
JOURNAL_PATH = "/internal/journal"
# POST a configuration, as JSON: {"name", "catalog": its hash, "file": the config file's name, "document": its content
# as JSON text, "variables": the names of those that it may read, "environment": {name: value} of those that are set}.
# 200: requests may name it from now on. 422: it cannot be run. A container of an older image answers 404.
CONFIGURATION_PATH = "/internal/configuration"
# Tells a container, in its environment, what its object can do: from 2 on the configuration is given to it.
PROTOCOL_VARIABLE = "INTERNAL_PROTOCOL"
PROTOCOL = 2

CREDENTIALS = frozenset({"authorization", "x-api-key", "api-key", "cookie"})
# CORS is the edge's business alone: without an origin the container grants nothing.
CROSS_ORIGIN = frozenset({"origin", "access-control-request-method", "access-control-request-headers"})
# https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1; `expect` because nobody behind the edge answers 100 to it.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
DROPPED = CREDENTIALS | CROSS_ORIGIN | HOP_BY_HOP
OURS = ("x-internal-", "x-litellm-")


def is_dropped(name: str) -> bool:
    """Whether the client's header `name` (lower case) stays outside."""
    return name in DROPPED or name.startswith(OURS)


def dropped(names: Iterable[str]) -> list[str]:
    """Those of a request's header names that do not enter the container."""
    return [name for name in names if is_dropped(name.lower())]
