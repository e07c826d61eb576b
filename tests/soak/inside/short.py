"""Imported by the forked proxy of a short soak: what `sitecustomize` does, and leases of ten seconds."""

import importlib
import sys

_SHORT = 10_000
importlib.import_module("tests.soak.inside.sitecustomize")
_modules = [
    module for name, module in sys.modules.items() if name.startswith("container.") and hasattr(module, "LEASE_MS")
]
assert _modules
for _module in _modules:
    _module.LEASE_MS = _SHORT  # pyright: ignore[reportAttributeAccessIssue]
