"""The configuration of a deployment as it travels: in the Worker's bundle, from the Worker to the objects, from them to
their containers.

It is the config file's content with the values of the variables that it may read, so that a secret that is rotated is
another configuration, too. What a request was reserved under is what serves it, whichever code the parts run.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .container_environment import NEVER_PASSED, container_environment
from .ledger.accounts import Limits, Policy
from .ledger.declared import Declared, resolve
from .protocol import MOST_CONFIGURATIONS, GivenConfiguration


class Configuration(NamedTuple):
    """`name`: differs when anything of it does. `catalog`: the hash of what the edge reserves by. `policy`: the budgets
    of everyone and of each user. `virtual_keys`: entries of `ledger.declared`. `file`, `document`: see
    `container.proxy.catalog`. `variables`: the names of those that it may read; `values`: of those that are set, and
    of the variables of virtual keys."""

    name: str
    catalog: str
    policy: Mapping[str, Any]
    virtual_keys: list[Any]
    file: str
    document: str
    variables: list[str]
    values: Mapping[str, str]

    @property
    def limits(self) -> Policy:
        return Policy(Limits(*self.policy["everyone"]), Limits(*self.policy["each_user"]))

    def declared(self) -> list[Declared]:
        """The keys that the ledger has to hold."""
        return resolve(self.virtual_keys, self.values.get)

    def text(self) -> str:
        """For an object that has not got it."""
        return json.dumps(self._asdict())

    def for_container(self) -> str:
        """A `protocol.GivenConfiguration`."""
        environment = container_environment(self.variables, self.values.get)
        return GivenConfiguration(
            self.name, self.catalog, self.file, self.document, self.variables, environment
        ).encode()


def own(catalog: Mapping[str, Any], variable: Callable[[str], str | None]) -> Configuration:
    """What this code was deployed with."""
    names = [*catalog["environment"], *(entry["variable"] for entry in catalog["virtual_keys"])]
    found = {name: variable(name) for name in dict.fromkeys(names) if name not in NEVER_PASSED}
    values = {name: value for name, value in found.items() if value}
    # Keyed: what the name tells of secrets is of no use to whoever reads it in a log.
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
    )


def read(text: str) -> Configuration:
    """What `Configuration.text` was. Raises TypeError for what another version has written and this one cannot read."""
    fields = json.loads(text)
    return Configuration(**{name: fields.get(name) for name in Configuration._fields})


class Known:
    """The configurations that an object has: its own, and those that a Worker of another version has told it."""

    def __init__(self, own: Configuration) -> None:
        self.own = own
        self._told: dict[str, Configuration] = {}

    @property
    def names(self) -> list[str]:
        return [self.own.name, *self._told]

    def named(self, name: str | None) -> Configuration | None:
        """None where it has to be told; its own for who names none, as a Worker of before does."""
        if name is None or name == self.own.name:
            return self.own
        return self._told.get(name)

    def learn(self, text: str) -> Configuration:
        """Those that were told last are kept."""
        told = read(text)
        self._told.pop(told.name, None)
        self._told[told.name] = told
        while len(self._told) > MOST_CONFIGURATIONS:
            del self._told[next(iter(self._told))]
        return told
