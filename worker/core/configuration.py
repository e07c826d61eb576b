"""A deployment's configuration in transit: in the Worker's bundle, and from the Worker to the Durable Objects and their
containers.

It consists of the config file's content and the values of the variables that the file may read. Rotating a secret
therefore makes a new configuration. A request is served with the configuration it was reserved under, whichever
versions of the code are running. Its container gets some of the variables in its environment, when it starts.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .ledger.accounts import Limits, Policy
from .protocol import MOST_CONFIGURATIONS, GivenConfiguration
from .shared_settings import SALT_KEY, SEAL_VARIABLE, seal_secret

if TYPE_CHECKING:
    from .ledger.declared import AnyDeclared

TOKEN_VARIABLE = "INTERNAL_TOKEN"
# Never passed, even if the configuration refers to them. Only the object makes tokens.
NEVER_PASSED = frozenset({"LITELLM_MASTER_KEY", SALT_KEY, SEAL_VARIABLE, TOKEN_VARIABLE})


class Configuration(NamedTuple):
    """`name`: changes whenever anything in it does. `catalog`: the hash of the catalog that the edge reserves by.
    `policy`: the limits; older Workers send only those of everyone and of each user. `virtual_keys`: entries of
    `ledger.declared`. `file`, `document`: see `container.proxy.catalog`. `variables`: the names of the variables it may
    read. `values`: those that are set, including the variables of virtual keys, and the secret that protects response
    ids. `owners`: entries of `ledger.declared`; older Workers send none."""

    name: str
    catalog: str
    policy: Mapping[str, Any]
    virtual_keys: list[Any]
    file: str
    document: str
    variables: list[str]
    values: Mapping[str, str]
    owners: list[Any] | None = None

    @property
    def limits(self) -> Policy:
        policy = self.policy
        return Policy(
            Limits(*policy["everyone"]),
            Limits(*policy["each_user"]),
            each_end_user=Limits(*policy.get("each_end_user", ())),
            end_user_budget=policy.get("end_user_budget", ""),
            accounts={id: Limits(*limits) for id, limits in policy.get("accounts", {}).items()},
            slack_alerts=policy.get("slack_alerts", False),
        )

    def declared(self) -> "list[AnyDeclared]":
        """Returns the keys and owners that the ledger must contain."""
        if not (self.owners or self.virtual_keys):
            return []
        # Imported on first use, so that an object starts sooner.
        from .ledger.declared import resolve, resolve_owners

        return [*resolve_owners(self.owners or ()), *resolve(self.virtual_keys, self.values.get)]

    def text(self) -> str:
        """Encodes the configuration for an object that does not have it."""
        return json.dumps(self._asdict())

    def for_container(self) -> str:
        """Encodes it as a `protocol.GivenConfiguration`."""
        environment = container_environment(self.variables, self.values.get)
        if SEAL_VARIABLE in self.values:
            environment[SEAL_VARIABLE] = self.values[SEAL_VARIABLE]
        return GivenConfiguration(
            self.name, self.catalog, self.file, self.document, self.variables, environment
        ).encode()


def own(catalog: Mapping[str, Any], variable: Callable[[str], str | None]) -> Configuration:
    """Returns the configuration that this code was deployed with."""
    names = [*catalog["environment"], *(entry["variable"] for entry in catalog["virtual_keys"])]
    found = {name: variable(name) for name in dict.fromkeys(names) if name not in NEVER_PASSED}
    values = {name: value for name, value in found.items() if value}
    seal = seal_secret(variable(SALT_KEY), variable("LITELLM_MASTER_KEY"))
    if seal:
        values[SEAL_VARIABLE] = seal
    # Keyed, so that the name, which appears in logs, reveals nothing about the secrets.
    key = (variable("LITELLM_MASTER_KEY") or "").encode()
    digest = hmac.new(key, json.dumps(values, sort_keys=True).encode(), hashlib.sha256).hexdigest()[:16]
    return Configuration(
        f"{catalog['configuration']}-{digest}",
        catalog["hash"],
        catalog["policy"],
        catalog["virtual_keys"],
        catalog["file"],
        catalog["document"],
        catalog["environment"],
        values,
        catalog["owners"],
    )


def read(text: str) -> Configuration:
    """Decodes `Configuration.text`. Raises TypeError if another version wrote something this one cannot read."""
    fields = json.loads(text)
    return Configuration(**{name: fields.get(name) for name in Configuration._fields})


class Known:
    """The configurations that an object has: its own, and those received from Workers of other versions."""

    def __init__(self, own: Configuration) -> None:
        self.own = own
        self._told: dict[str, Configuration] = {}

    @property
    def names(self) -> list[str]:
        return [self.own.name, *self._told]

    def named(self, name: str | None) -> Configuration | None:
        """Returns None if the configuration has to be sent first. Without a name, as from an older Worker, returns the
        object's own."""
        if name is None or name == self.own.name:
            return self.own
        return self._told.get(name)

    def learn(self, text: str) -> Configuration:
        """Adds a received configuration. Only the most recent ones are kept."""
        told = read(text)
        self._told.pop(told.name, None)
        self._told[told.name] = told
        while len(self._told) > MOST_CONFIGURATIONS:
            del self._told[next(iter(self._told))]
        return told


def container_environment(names: Iterable[str], variable: Callable[[str], str | None]) -> dict[str, str]:
    """Returns those of `names` that are set. An empty value counts as unset."""
    found = {name: variable(name) for name in names if name not in NEVER_PASSED}
    return {name: value for name, value in found.items() if value}


def fingerprint(environment: Mapping[str, str], token: str) -> str:
    """Changes whenever the environment does. Keyed, because the environment may contain secrets."""
    content = json.dumps(sorted(environment.items())).encode()
    return hmac.new(token.encode(), content, hashlib.sha256).hexdigest()
