"""Loaded into Pyodide beside the Worker: finds its classes, makes their instances and calls their methods."""

import importlib
import inspect
import random
from typing import Any

import workers
from pyodide.code import relaxed_call  # pyright: ignore[reportAttributeAccessIssue]

_BASES = ("DurableObject", "WorkerEntrypoint", "WorkflowEntrypoint")
_main: Any = None
_from_js: Any = None
_to_js: Any = None


def load(name):
    """Imports the Worker; its classes as {name: {"base": str, "methods": [str]}}."""
    global _main, _from_js, _to_js
    _main = importlib.import_module(name)
    # As in workerd, whose wrapper of calls is imported after the main module.
    _from_js, _to_js = workers.python_from_rpc, workers.python_to_rpc
    found = {}
    for attribute, value in vars(_main).items():
        if attribute.startswith("_") or not inspect.isclass(value):
            continue
        for base in _BASES:
            parent = getattr(workers, base)
            if issubclass(value, parent) and value is not parent:
                methods = [n for n, _ in inspect.getmembers(value, inspect.isfunction) if not n.startswith("_")]
                found[attribute] = {"base": base, "methods": methods}
    return found


def reseed():
    random.seed()


def construct(name, ctx, env):
    return getattr(_main, name)(ctx, env)


async def invoke(instance, raw, method, args):
    """Calls a method as workerd's introspection does: arguments and result are converted unless `raw`."""
    function = getattr(instance, method)
    if raw:
        result = relaxed_call(function, *args)
        if inspect.isawaitable(result):
            await result
        return None
    converted = [_from_js(argument) for argument in args]
    # fetch may be declared with fewer parameters than (request, env, ctx).
    result = relaxed_call(function, *converted) if method == "fetch" else function(*converted)
    if inspect.isawaitable(result):
        result = await result
    return _to_js(result)
