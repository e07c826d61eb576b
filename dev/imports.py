"""`python -m dev.imports`: finds circular imports between modules or packages, imports from higher layers, and imports
that the Worker could not follow.

Every import counts, including those inside functions and those only for type checkers. A package depends on a sibling
if any of its modules imports any module of the sibling.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("container", "worker", "dev", "bench", "deploy/wheel/litellm_router")
# What lies in a package, from the bottom up. Each may import what stands before it, and none of its own line.
LAYERS: Mapping[str, tuple[str, ...]] = {
    "": ("worker", "container", "dev", "bench litellm_router"),
    "worker": ("worker", "catalog core dashboard", "edge", "entry"),
    "worker.core": (
        "core",
        "values",
        "api log_text protocol shared_settings",
        "ledger pricing",
        "identity openapi_schemas",
        "configuration openapi sign_in",
    ),
    "container": (
        "container",
        "config http_client observability",
        "routing",
        "request",
        "server",
        "engine stores",
        "formats",
        "accounting",
        "handlers records",
        "proxy",
        "workers",
        "cli",
        "__main__",
    ),
}

# {module: {imported module: line}}
Graph = dict[str, dict[str, int]]


def graph(root: Path = ROOT, folders: Iterable[str] = FOLDERS) -> Graph:
    """The modules below the folders, and their imports of each other."""
    files: dict[str, Path] = {}
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to((root / folder).parent).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: dict(_imports(name, path, files)) for name, path in files.items()}


def _imports(module: str, path: Path, known: Mapping[str, Path]) -> Iterator[tuple[str, int]]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    top = module.partition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            # In the Worker, `worker/` is the import root: `core.api.errors` is `worker.core.api.errors`.
            found = _longest(name, known) or (_longest(f"worker.{name}", known) if top == "worker" else None)
            if found and found not in (module, "worker" if top == "worker" else ""):
                yield found, node.lineno


def _longest(name: str, known: Mapping[str, Path]) -> str | None:
    """The module that a dotted name refers to, or that contains it."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def from_the_folder(root: Path = ROOT) -> list[str]:
    """One line per absolute import of `worker` within `worker/`. In the Worker that folder is the import root, so there
    is no such package."""
    return [
        f"{path.relative_to(root)}, line {node.lineno}: imports {name}; import it relatively"
        for path in sorted((root / "worker").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in _absolute(node)
        if name.partition(".")[0] == "worker"
    ]


def _absolute(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if node.module and not node.level else []


def circles(imports: Graph) -> list[list[str]]:
    """Groups of siblings, modules or packages, that depend on each other."""
    packages = {name.rpartition(".")[0] for name in imports}
    packages |= {".".join(name.split(".")[:depth]) for name in packages for depth in range(name.count(".") + 1)}
    return [group for package in sorted(packages) for group in _circles(_children(imports, package))]


def _children(imports: Graph, package: str) -> dict[str, set[str]]:
    """What lies directly in the package, each with everything below it; the package's own `__init__` is one of them."""
    depth = package.count(".") + 1 if package else 0

    def child(module: str) -> str | None:
        inside = not package or module == package or module.startswith(f"{package}.")
        return ".".join(module.split(".")[: depth + 1]) if inside else None

    found: dict[str, set[str]] = {}
    for module, targets in imports.items():
        one = child(module)
        if one is not None:
            found.setdefault(one, set()).update(other for other in map(child, targets) if other and other != one)
    return found


def _circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Tarjan's algorithm: the strongly connected components of more than one node."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in edges.get(node, ()):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in edges:
        if node not in number:
            visit(node)
    return found


def climbing(imports: Graph, layers: Mapping[str, tuple[str, ...]] = LAYERS) -> list[str]:
    """One line per import from the same or a higher layer, and per module that is in no layer."""
    return [line for package, order in layers.items() for line in _climbing(imports, package, order)]


def _climbing(imports: Graph, package: str, order: tuple[str, ...]) -> Iterator[str]:
    heights = {name: height for height, names in enumerate(order) for name in names.split()}
    children = {child: child.rpartition(".")[2] for child in _children(imports, package)}
    for child, name in children.items():
        if name not in heights:
            yield f"{child} has no place in LAYERS"
    for module, targets in imports.items():
        one = _beneath(module, children)
        for target, line in targets.items():
            other = _beneath(target, children)
            if one is None or other is None or one == other:
                continue
            if heights.get(children[one], len(order)) <= heights.get(children[other], -1):
                yield f"{module}, line {line}: imports {target}, and {one} may not import {other}"


def _beneath(module: str, children: Iterable[str]) -> str | None:
    """Which of the children the module is in; the longest name, as a package is one of its own children."""
    return max((one for one in children if _within(module, one)), key=len, default=None)


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _explained(group: list[str], imports: Graph) -> Iterator[str]:
    yield f"a circle: {', '.join(group)}"
    for module, targets in imports.items():
        for target, line in targets.items():
            ends = [next((one for one in group if _within(name, one)), None) for name in (module, target)]
            if None not in ends and ends[0] != ends[1]:
                yield f"    {module}, line {line}: imports {target}"


def main() -> int:
    imports = graph()
    problems = [line for group in circles(imports) for line in _explained(group, imports)] + climbing(imports)
    problems += from_the_folder()
    print("\n".join(problems) or f"{len(imports)} modules, no circles.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
