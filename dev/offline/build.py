"""Writes a directory that workerd serves: the Worker's Python, the SDK, Pyodide's files and a config."""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import tools, wrangler

JS = Path(__file__).parent / "js"
CONFIG = "config.capnp"
SOCKET = "http"
# With `python_workers` workerd would fetch a Pyodide of its own.
_OWN_FLAGS = ("python_workers",)


@dataclass(frozen=True)
class Engine:
    """Where ctx.container finds a Docker Engine API: a unix socket, and the image of its networking sidecar."""

    socket: Path
    sidecar_image: str


@dataclass(frozen=True)
class Version:
    """Another version of the Worker, while the Durable Objects run the code of the first: as after a deploy.

    `vars`, `replaced`: as of `build()`; `main`: its main module, where that lies in another checkout.
    """

    vars: Mapping[str, str]
    replaced: Mapping[str, str] = field(default_factory=dict)
    main: Path | None = None


def version_socket(number: int) -> str:
    return f"{SOCKET}-{number}"


def worker_sources(main: Path) -> dict[str, str]:
    """The Python files beside and below the Worker's main module, as {relative path: text}."""
    root = main.parent
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("*.py"))
        if "__pycache__" not in path.parts
    }


def all_sources(main: Path) -> dict[str, str]:
    """What Python finds at /session/metadata: the Worker, the SDK in python_modules, our bridge."""
    sdk = {f"python_modules/{path}": text for path, text in tools.sdk_sources().items()}
    bridge = (JS / "bridge.py").read_text(encoding="utf-8")
    return {**worker_sources(main), **sdk, "python_modules/_offline_bridge.py": bridge}


def build(
    config: wrangler.WranglerConfig,
    out: Path,
    *,
    storage: Path,
    vars: Mapping[str, str] | None = None,
    engine: Engine | None = None,
    snapshot: Path | None = None,
    bytecode: Path | None = None,
    replaced: Mapping[str, str] | None = None,
    versions: Sequence[Version] = (),
    apart: Sequence[str] = (),
    v8_flags: Sequence[str] = (),
) -> Path:
    """Fills `out` and returns the path of workerd's config in it. `storage` holds the Durable Objects' databases.

    Without an engine the Durable Objects have no container behind them, as in a deployment that lacks one:
    `ctx.container` is there and fails when it is used. `replaced` are generated sources of the Worker
    ({path: text}) that take the place of what lies in its directory. `versions` answer at sockets of their own, see
    `version_socket`. `apart`: classes of Durable Objects, each in an isolate of its own, as all of them are on
    Cloudflare. `v8_flags`: of workerd's JavaScript engine.
    """
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    storage.mkdir(parents=True, exist_ok=True)
    for name in ("prelude.mjs", "interpreter.mjs", "host.mjs"):
        shutil.copyfile(JS / name, out / name)
    _place(snapshot, out / "snapshot.bin")
    _place(bytecode, out / "bytecode.bin")
    (out / "main.mjs").write_text(_main_module(config, _classes(config)), encoding="utf-8")
    (out / "version.mjs").write_text(_main_module(config, []), encoding="utf-8")
    modules = [_modules(config, out, "main.mjs", config.main, replaced or {}, "")]
    modules += [
        _modules(config, out, "version.mjs", version.main or config.main, version.replaced, f"{number}-")
        for number, version in enumerate(versions, 1)
    ]
    path = out / CONFIG
    path.touch(mode=0o600)
    path.chmod(0o600)  # it holds the vars, and so the secrets
    all_vars = [vars or {}, *(one.vars for one in versions)]
    text = _config(config, modules, all_vars, storage.resolve(), engine, apart, v8_flags)
    path.write_text(text, encoding="utf-8")
    return path


def _modules(
    config: wrangler.WranglerConfig, out: Path, entry: str, main: Path, replaced: Mapping[str, str], prefix: str
) -> list[tuple[str, str, str]]:
    """The modules of one Worker: (name, kind, path relative to `out`). `prefix`: of the files that are its own."""
    root = dataclasses.replace(config, main=main)
    data = {name: path.read_text(encoding="utf-8") for name, path in root.data_files().items()}
    sources = {**all_sources(main), **data, **replaced}
    (out / f"{prefix}sources.json").write_text(json.dumps(sources), encoding="utf-8")
    modules = [
        (entry, "esModule", entry),
        ("host.mjs", "esModule", "host.mjs"),
        *interpreter_modules(out),
        ("snapshot.bin", "data", "snapshot.bin"),
        ("bytecode.bin", "data", "bytecode.bin"),
        ("sources.json", "text", f"{prefix}sources.json"),
    ]
    for path, text in sources.items():  # the SDK's own JavaScript, which it imports by path
        if path.endswith(".js") and path not in data:
            file = out / (prefix + path.replace("/", "_"))
            file.write_text(text, encoding="utf-8")
            modules.append((path, "esModule", file.name))
    return modules


def _place(made: Path | None, target: Path) -> None:
    """A snapshot has some 30 MB, so a link where the file system allows one; an empty file stands for none."""
    target.unlink(missing_ok=True)
    if made is None:
        target.touch()
        return
    try:
        os.link(made, target)
    except OSError:
        shutil.copyfile(made, target)


def interpreter_modules(out: Path) -> list[tuple[str, str, str]]:
    """Pyodide as workerd modules: (name, kind, path relative to `out`)."""
    pyodide = tools.pyodide_directory()
    return [
        ("prelude.mjs", "esModule", "prelude.mjs"),
        ("interpreter.mjs", "esModule", "interpreter.mjs"),
        *((name, kind, os.path.relpath(pyodide / name, out)) for name, kind in tools.PYODIDE_FILES.items()),
    ]


def module_list(modules: Iterable[tuple[str, str, str]]) -> str:
    return _list(f"(name = {_text(name)}, {kind} = embed {_text(path)})" for name, kind, path in modules)


def _main_module(config: wrangler.WranglerConfig, classes: Iterable[str]) -> str:
    """The classes must be exported by name, and statically."""
    lines = [
        'import { serve } from "./host.mjs";',
        f"const classes = await serve({_text(config.main.stem)});",
        "export default classes.Default;",
    ]
    lines += [f"export const {name} = classes.{name};" for name in classes]
    return "\n".join(lines) + "\n"


def _config(
    config: wrangler.WranglerConfig,
    modules: list[list[tuple[str, str, str]]],
    vars: list[Mapping[str, Any]],
    storage: Path,
    engine: Engine | None,
    apart: Sequence[str] = (),
    v8_flags: Sequence[str] = (),
) -> str:
    """`modules`, `vars`: of the Worker that has the Durable Objects, then of its other versions."""
    flags = [_text(flag) for flag in config.compatibility_flags if flag not in _OWN_FLAGS]
    versions = [f"version{number}" for number in range(1, len(modules))]
    sockets = {"main": SOCKET, **{name: version_socket(number) for number, name in enumerate(versions, 1)}}
    container_engine = "none = void"
    if engine is not None:
        container_engine = (
            f"localDocker = (socketPath = {_text(f'unix:{engine.socket}')}, "
            f"containerEgressInterceptorImage = {_text(engine.sidecar_image)})"
        )

    def home(class_name: str) -> str:
        """The service that has the objects of a class."""
        return f"of{class_name}" if class_name in apart else "main"

    def one(name: str, number: int) -> str:
        bindings = [_variable(variable, value) for variable, value in {**config.vars, **vars[number]}.items()]
        for binding, class_name in config.bindings.items():
            there = f"(className = {_text(class_name)}, serviceName = {_text(home(class_name))})"
            namespace = _text(class_name) if name == home(class_name) else there
            bindings.append(f"(name = {_text(binding)}, durableObjectNamespace = {namespace})")
        objects = ""
        own = [class_name for class_name in _classes(config) if home(class_name) == name]
        if own:
            objects = f"""  durableObjectNamespaces = {_list(_namespace(config, class_name) for class_name in own)},
  durableObjectStorage = (localDisk = "storage"),
  containerEngine = ({container_engine}),
"""
        return f"""const {name} :Workerd.Worker = (
  modules = {module_list(modules[number])},
  compatibilityDate = {_text(config.compatibility_date)},
  compatibilityFlags = [{", ".join(flags)}],
  bindings = {_list(bindings)},
{objects});
"""

    numbers = {name: number for number, name in enumerate(sockets)} | {home(class_name): 0 for class_name in apart}
    return f"""using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  v8Flags = [{", ".join(_text(flag) for flag in v8_flags)}],
  services = [
    {"".join(f'(name = "{name}", worker = .{name}), ' for name in numbers)}
    (name = "storage", disk = (path = {_text(str(storage))}, writable = true)),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = {
        _list(
            f'(name = "{socket}", address = "127.0.0.1:0", http = (), service = "{name}")'
            for name, socket in sockets.items()
        )
    },
);
{"".join(one(name, number) for name, number in numbers.items())}"""


def _classes(config: wrangler.WranglerConfig) -> list[str]:
    return sorted(set(config.bindings.values()))


def _namespace(config: wrangler.WranglerConfig, class_name: str) -> str:
    container = ""
    if class_name in config.containers:
        container = f", container = (imageName = {_text(config.image(class_name))})"
    sql = "true" if class_name in config.sqlite_classes else "false"
    unique_key = _text(f"{config.name}-{class_name}")
    return f"(className = {_text(class_name)}, uniqueKey = {unique_key}, enableSql = {sql}{container})"


def _variable(name: str, value: Any) -> str:
    if isinstance(value, str):
        return f"(name = {_text(name)}, text = {_text(value)})"
    return f"(name = {_text(name)}, json = {_text(json.dumps(value))})"


def _text(value: str) -> str:
    """A Cap'n Proto string: bytes in printable ASCII, everything else as octal escapes."""
    return '"' + "".join(_character(byte) for byte in value.encode()) + '"'


def _character(byte: int) -> str:
    char = chr(byte)
    if char in '"\\':
        return "\\" + char
    return char if " " <= char <= "~" else f"\\{byte:03o}"


def _list(items: Iterable[str]) -> str:
    return "[" + "".join(f"\n    {item}," for item in items).rstrip(",") + "\n  ]"
