"""The Worker's calls of a ledger object whose code is of another version."""

import importlib
import json
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from worker.core.configuration import Configuration

CONFIGURATION = Configuration("new-1", "hash", {"everyone": [1], "each_user": []}, [], "file", "{}", [], {})
ASK = {"id": "one", "tags": '["a"]'}


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, with stand-ins for the modules that only the Workers runtime has."""
    absent = {
        "js": (),
        "pyodide": (),
        "pyodide.ffi": ("JsException", "JsProxy", "create_proxy", "to_js", "jsnull"),
        "workers": (),
    }
    for name, names in absent.items():
        module = ModuleType(name)
        for each in names:
            setattr(module, each, object)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys.modules["workers"], "import_from_javascript", object, raising=False)
    before = set(sys.modules)
    yield importlib.import_module("worker.edge.stubs")
    for name in set(sys.modules) - before:
        if name.startswith("worker.edge."):
            del sys.modules[name]


class LedgerObject:
    """Admits a request with the fields it `knows`. `under`: the configuration that each was admitted under."""

    def __init__(self, *knows: str) -> None:
        self._knows = {"id", *knows}
        self._told: set[str] = set()
        self.under: list[str | None] = []

    def getByName(self, name: str) -> "LedgerObject":
        return self

    async def configure(self, text: str) -> None:
        self._told.add(json.loads(text)["name"])

    async def admit(self, text: str) -> str:
        asked = json.loads(text)
        configuration = asked.pop("configuration", None) if "configuration" in self._knows else None
        if configuration is not None and configuration not in self._told:
            return json.dumps({"unconfigured": True})
        for name in asked.keys() - self._knows:
            raise TypeError(f"__new__() got an unexpected keyword argument '{name}'")
        self.under.append(configuration)
        return json.dumps({"ok": True})


@pytest.mark.parametrize(
    ("knows", "under"), [(("configuration", "tags"), "new-1"), (("configuration",), "new-1"), ((), None)]
)
async def test_a_request_is_admitted_under_its_configuration_if_the_object_has_configurations(
    stubs: Any, knows: tuple[str, ...], under: str | None
) -> None:
    ledger = LedgerObject(*knows)
    assert await stubs.LedgerClient(ledger).admit(ASK, CONFIGURATION) == {"ok": True}
    assert ledger.under == [under]


async def test_other_failures_are_not_repeated(stubs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = LedgerObject("configuration", "tags")
    calls: list[str] = []

    async def failing(text: str) -> str:
        calls.append(text)
        raise RuntimeError("it may have been admitted")

    monkeypatch.setattr(ledger, "admit", failing)
    with pytest.raises(stubs.LedgerUnavailable):
        await stubs.LedgerClient(ledger).admit(ASK, CONFIGURATION)
    assert len(calls) == 1
