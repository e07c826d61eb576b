"""The protocol between the Worker, its Durable Objects and their containers: headers, paths and messages.

The Worker, its objects and their containers are updated at different times, so two versions can meet. Each message is
encoded and decoded here. tests/edge/protocol has each message as written by each version. Raise PROTOCOL_VERSION when a
change to a message would be misunderstood by an older reader.

Messages in headers are ASCII JSON. A decoder raises ValueError or TypeError for anything but its own message.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from json import encoder, scanner
from typing import Any, NamedTuple

from .values.claims import Claims

PROTOCOL_VERSION = 4
# The environment variable that tells a container the version of its object.
PROTOCOL_VARIABLE = "INTERNAL_PROTOCOL"
# The first version in which an object sends its container the configuration.
GIVES_CONFIGURATION = 2
# The first version in which an object reads the attempts of a report. An older one refuses the report.
READS_ATTEMPTS = 4

TOKEN_HEADER = "x-internal-token"
REQUEST_ID_HEADER = "x-request-id"
# On a 503 from an object or a container: it cannot serve this request, but another may. Never leaves the edge.
NO_INSTANCE_HEADER = "x-internal-no-instance"
# Its values: the container is shutting down and accepts nothing new; the object's class has no container at all (also
# the object's state); nothing was listening in the container, so the next request finds another one; the object or
# container lacks the configuration that the request names.
ENDING, NO_CONTAINER, GONE, UNCONFIGURED = "ending", "none", "gone", "unconfigured"
# Holds an EdgeGrant.
GRANT_HEADER = "x-internal-grant"
# From the Worker to the ledger object: a request to admit; see `encode_admission`.
ASK_HEADER = "x-internal-ask"
# On the object's 403: the ledger's refusal; see `encode_refusal`.
REFUSAL_HEADER = "x-internal-refusal"
# On a container's non-streaming response, if the grant has an `ack`: a CarriedReport.
REPORT_HEADER = "x-internal-report"
# The hash of the edge's catalog. A container with another catalog would charge other prices.
CATALOG_HEADER = "x-internal-catalog"
# The name of the configuration that the request was reserved under.
CONFIGURATION_HEADER = "x-internal-configuration"
# Objects and containers keep this many of the configurations they received last.
MOST_CONFIGURATIONS = 4
# The start id of the container that the reservation was made for, '' if not known yet.
INSTANCE_HEADER = "x-internal-instance"
# Paths on which a container only serves its edge. The first is followed by the client's path, the second by an id.
PARK_PREFIX = "/internal/park"
GO_PREFIX = "/internal/go/"
# POST a JournalPoll; the response is a JournalPage.
JOURNAL_PATH = "/internal/journal"
# POST a GivenConfiguration. 200: requests may name it from now on. 422: it cannot be loaded. 404: the container's image
# is older than this path.
CONFIGURATION_PATH = "/internal/configuration"


# The owner of requests with the master key.
MASTER = "master"


def owner_of(secret_hash: str | None, user_id: str, team_id: str) -> str:
    """Returns the owner of a request. With a JWT that is its user, or else its team; with neither, it is an operator's
    and so the same as with the master key."""
    if secret_hash:
        return secret_hash
    if not (user_id or team_id):
        return MASTER
    named = json.dumps(["user", user_id] if user_id else ["team", team_id])
    return "jwt:" + hashlib.sha256(named.encode()).hexdigest()


class EdgeGrant(NamedTuple):
    """What the edge tells a container about an admitted request.

    `reservation`: its id, '' if nothing is reserved. `amount`: reserved nano-dollars, None if no price is known.
    `output_limit`: to be added to the request, None if it has a limit or needs none. `limited`: a budget or a token
    limit applies. `models`: those the key may use, a JSON list, empty for all. `headers`: to add to the response.
    `owner`: see `owner_of`. `ack`: the ledger has the journal up to this number, and a
    non-streaming response may carry its report; None if it may not. `key_alias`: the key's name, for the log. `key_id`:
    the virtual key's id in the ledger, which stays when its secret is replaced; '' for the master key. Older edges send
    no `key_id`, and without a reservation no `owner`. `most_output`: the amount covers no output limit above this one,
    whoever sets it; None if it covers the request's. `exhausted`: the ids of accounts that are used up: no deployment
    that draws on one of them may answer. `aliases`: the models that the client's names for models stand for; with a
    reservation, of the one model that it was made for. A reservation with one of the last three comes with
    `catalog_of`, because an older container does not know them.
    """

    reservation: str = ""
    amount: int | None = None
    output_limit: int | None = None
    limited: bool = False
    models: str = "[]"
    headers: tuple[tuple[str, str], ...] = ()
    owner: str = ""
    ack: int | None = None
    key_alias: str = ""
    key_id: str = ""
    most_output: int | None = None
    exhausted: tuple[str, ...] = ()
    aliases: Mapping[str, str] = {}

    def encode(self) -> str:
        fields: dict[str, Any] = {"models": None if self.models == "[]" else json.loads(self.models)}
        if self.reservation:
            fields["reservation"], fields["amount"], fields["output_limit"] = self[:3]
            fields["limited"], fields["headers"] = self.limited, self.headers
            fields["owner"], fields["ack"] = self.owner, self.ack
            if self.key_alias:
                fields["key_alias"] = self.key_alias
            if self.most_output:
                fields["most_output"] = self.most_output
            if self.exhausted:
                fields["exhausted"] = self.exhausted
        elif self.owner:
            fields["owner"] = self.owner
        if self.reservation or self.owner:
            if self.key_id:
                fields["key_id"] = self.key_id
            if self.aliases:
                fields["aliases"] = self.aliases
        return to_json(fields)

    @classmethod
    def decode(cls, text: str) -> "EdgeGrant":
        fields = _object(text)
        models = fields.get("models")
        return cls(
            _a(str, fields.get("reservation", "")),
            _a(int | None, fields.get("amount")),
            _a(int | None, fields.get("output_limit")),
            bool(fields.get("limited")),
            json.dumps([_a(str, name) for name in models]) if models else "[]",
            tuple((_a(str, name), _a(str, value)) for name, value in fields.get("headers") or ()),
            _a(str, fields.get("owner", "")),
            _a(int | None, fields.get("ack")),
            _a(str, fields.get("key_alias", "")),
            _a(str, fields.get("key_id", "")),
            _a(int | None, fields.get("most_output")),
            tuple(_a(str, account) for account in fields.get("exhausted") or ()),
            {name: _a(str, model) for name, model in _a(dict, fields.get("aliases", {})).items()},
        )


# These follow the catalog's hash in CATALOG_HEADER. A container that does not know them refuses the request, at no
# cost.
LOWERED, PASSED_OVER, ALIASED = "+lowered", "+passed-over", "+aliased"


def catalog_of(catalog: str, grant: EdgeGrant) -> str:
    """Returns the value of CATALOG_HEADER for a request with this grant. `catalog`: the catalog's hash."""
    catalog += "" if grant.most_output is None else LOWERED
    catalog += PASSED_OVER if grant.exhausted else ""
    return catalog + ALIASED if grant.aliases and grant.reservation else catalog


def grant_of(
    request: Mapping[str, Any], result: Mapping[str, Any], add_limit: int | None, ack: int | None = None
) -> EdgeGrant:
    """Returns the grant of an admitted request. `request`: fields of `ledger.admit.AdmissionRequest`; `result`: from
    `ledger.batch.batch`; `add_limit`: the output limit to add to the request if a limit applies."""
    limited, most_output = result["limited"], result.get("output_limit")
    if most_output is not None and add_limit is not None:
        add_limit = most_output
    return EdgeGrant(
        request["id"],
        request["amount"] if most_output is None else result["amount"],
        add_limit if limited else None,
        limited,
        "[]",  # the ledger has already checked the model
        tuple((name, value) for name, value in result["headers"]),
        owner_of(request["secret_hash"], request.get("user_id", ""), request.get("team_id", "")),
        ack,
        result.get("key_alias", ""),
        result.get("key_id", ""),
        most_output,
        tuple(result.get("exhausted", ())),
        {request["named"]: request["model"]} if request.get("named") else {},
    )


def encode_admission(
    request: Mapping[str, Any],
    add_limit: int | None,
    claims: Claims,
    configuration: str,
    steps: Sequence[Sequence[int]] = (),
    candidates: Sequence[Sequence[str]] = (),
) -> str:
    """`request`: fields of `ledger.admit.AdmissionRequest` except instance, lease, tags, steps, without_limit and
    candidates. `add_limit`: see `grant_of`. `claims`: the end user only if `request` has none. `configuration`: as in
    CONFIGURATION_HEADER. `steps`: see `values.money`. Objects older than a field of the request refuse it."""
    fields = {"ask": request, "add_limit": add_limit, "tags": claims.tags, "configuration": configuration}
    if claims.end_user:
        fields["end_user"] = claims.end_user
    if steps:
        fields["steps"] = steps
    if candidates:
        fields["candidates"] = candidates
    return to_json(fields)


def decode_admission(
    text: str,
) -> tuple[dict[str, Any], int | None, Claims, str | None, list[list[int]], tuple[tuple[str, ...], ...]]:
    """Returns the arguments of `encode_admission`. Older Workers send neither tags, nor an end user, nor a
    configuration, nor steps, nor candidates. Older objects ignore the end user and candidates."""
    fields = _object(text)
    return (
        _a(dict, fields.get("ask")),
        _a(int | None, fields.get("add_limit")),
        Claims(_a(str, fields.get("tags", "")), _a(str, fields.get("end_user", ""))),
        _a(str | None, fields.get("configuration")),
        _steps(fields["steps"]) if "steps" in fields else [],
        candidates_of(fields["candidates"]) if "candidates" in fields else (),
    )


def candidates_of(value: Any) -> tuple[tuple[str, ...], ...]:
    """Returns the candidates of an admission request from JSON. Raises TypeError."""
    return tuple(tuple(_a(str, account) for account in _a(list, some)) for some in _a(list, value))


def _steps(value: Any) -> list[list[int]]:
    steps = _a(list, value)
    for step in steps:
        limit, amount, tokens = _a(list, step)
        if not (type(limit) is type(amount) is type(tokens) is int):
            raise TypeError("a step has integers only")
    return steps


def encode_refusal(refusal: Mapping[str, Any]) -> str:
    """`refusal`: as built by `ledger.decision.refuse`."""
    return json.dumps(refusal)


def decode_refusal(text: str) -> dict[str, Any]:
    return _object(text)


class CarriedReport(NamedTuple):
    """A report carried by a response. `number`: its entry in the container's journal. `oldest`: the first entry there.
    `report`: the fields of a `ledger.settle.Report`."""

    number: int
    oldest: int
    report: Sequence[Any]

    def encode(self) -> str:
        return json.dumps([self.number, self.oldest, *self.report])

    @classmethod
    def decode(cls, text: str) -> "CarriedReport":
        number, oldest, *report = _a(list, from_json(text))
        return cls(_a(int, number), _a(int, oldest), report)


class JournalPoll(NamedTuple):
    """Acknowledges everything up to `ack` and waits `wait` seconds for more. `doubtful`: ids of requests that were sent
    but may never have arrived."""

    ack: int
    wait: float
    doubtful: Sequence[str] = ()

    def encode(self) -> str:
        return json.dumps({"ack": self.ack, "wait": self.wait, "doubtful": list(self.doubtful)})

    @classmethod
    def decode(cls, text: str | bytes) -> "JournalPoll":
        fields = _object(text)
        doubtful = [_a(str, id) for id in fields.get("doubtful") or ()]
        return cls(_a(int, fields.get("ack")), float(_a(int | float, fields.get("wait"))), doubtful)


class JournalPage(NamedTuple):
    """Unacknowledged entries of a container's journal, as [number, fields of a `ledger.settle.Report`]. `renew`: ids of
    long-running requests. `open`: the number of running requests. `waiting`: the number of entries."""

    entries: Sequence[Sequence[Any]]
    renew: Sequence[str]
    open: int
    waiting: int

    def encode(self) -> str:
        return json.dumps(self._asdict())

    @classmethod
    def decode(cls, text: str | bytes) -> "JournalPage":
        fields = _object(text)
        return cls(
            [[_a(int, number), _a(list, report)] for number, report in _a(list, fields.get("entries"))],
            _a(list, fields.get("renew")),
            _a(int, fields.get("open")),
            _a(int, fields.get("waiting")),
        )


class GivenConfiguration(NamedTuple):
    """A configuration for a container. `catalog`: its hash. `file`: the config file's name. `document`: its content as
    JSON. `variables`: the names of variables it may read. `environment`: the values of those that are set."""

    name: str
    catalog: str
    file: str
    document: str
    variables: Sequence[str]
    environment: Mapping[str, str]

    def encode(self) -> str:
        return json.dumps(self._asdict())

    @classmethod
    def decode(cls, text: str | bytes) -> "GivenConfiguration":
        fields = _object(text)
        given = cls._make(fields.get(name) for name in cls._fields)
        _a(list, given.variables)
        _a(dict, given.environment)
        for each in (*given[:4], *given.variables, *given.environment.values()):
            _a(str, each)
        return given


def _object(text: str | bytes) -> dict[str, Any]:
    return _a(dict, from_json(text))


def _a(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} is not {kind}")
    return value


def instance_of(token: str) -> str:
    """Derives the instance id from the token of that start, so the edge and the container both know it without
    exchanging it. It reveals nothing about the token."""
    return hashlib.sha256(b"instance:" + token.encode()).hexdigest()[:24]


# JSON without the options of `json.dumps` and `json.loads`, which are called several times per request: in the Worker's
# interpreter it costs half as much.
_scan: Any = scanner.make_scanner(json.JSONDecoder())  # pyright: ignore[reportArgumentType]
# `None`: circular references are not looked for. Where there is no encoder in C, json's own is used.
_make_encoder: Any = getattr(encoder, "c_make_encoder", None)
_encode: Any = _make_encoder and _make_encoder(
    None, json.JSONEncoder().default, encoder.encode_basestring_ascii, None, ": ", ", ", False, False, True
)


def to_json(value: Any) -> str:
    """Encodes like `json.dumps`, without a check for circular references."""
    return json.dumps(value) if _encode is None else "".join(_encode(value, 0))


def from_json(text: str | bytes) -> Any:
    """Decodes like `json.loads`. Raises ValueError."""
    if isinstance(text, str):
        try:
            value, end = _scan(text, 0)
        except StopIteration:
            end = -1
        if end == len(text):
            return value
    return json.loads(text)
