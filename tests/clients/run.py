"""Runs the processes of one task, and says for each case what became of it."""

import json
import os
import secrets
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.clients import installed, snippets
from tests.clients.cases import SCHEMA, WORD, Agent, Package, Scenario, Task
from tests.clients.gateway import Gateway
from tests.fakes.answers import AFTER_CALL

DRIVERS = Path(__file__).parent / "drivers"
PATIENCE = 120
MOCK = "This is the mock model."


class Result(NamedTuple):
    """`failed` is None for a case that went well, otherwise what was said."""

    task: Task
    model: str
    scenario: Scenario
    failed: str | None


def run(task: Task, gateway: Gateway, folder: Path) -> list[Result]:
    """`folder` becomes the process's home."""
    (folder / "work").mkdir(parents=True)
    if isinstance(task.client, Package):
        return list(_package(task.client, task, gateway, folder))
    (model,), (scenario, *shown) = task.models, task.scenarios
    failed = _agent(task.client, model, scenario, gateway, folder)
    results = [Result(task, model, scenario, failed)]
    for other in shown:  # by the same process, unless it failed
        failed = failed and _agent(task.client, model, other, gateway, folder)
        results.append(Result(task, model, other, failed))
    return results


def _package(package: Package, task: Task, gateway: Gateway, folder: Path) -> Iterator[Result]:
    asked = {"url": gateway.url, "key": gateway.key, "models": task.models, "scenarios": task.scenarios}
    script = package.installed == "npm"
    interpreter = installed.TOOLS / "node" if script else installed.python_of(package.installed)
    driver = DRIVERS / package.driver
    if script:  # Node looks for packages beside the script
        for source in DRIVERS.glob("*.mjs"):
            (folder / source.name).write_text(source.read_text())
        (folder / "node_modules").symlink_to(installed.NODE_MODULES)
        driver = folder / package.driver
    done = _process([str(interpreter), str(driver), json.dumps(asked)], folder, {})
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    told = {(line["model"], line["scenario"]): line["error"] for line in lines}
    for model in task.models:
        for scenario in task.scenarios:
            missing = f"The driver ended with {done.returncode}.\n{done.stderr[-2000:]}"
            yield Result(task, model, scenario, told.get((model, scenario), missing))


def _agent(agent: Agent, model: str, scenario: Scenario, gateway: Gateway, folder: Path) -> str | None:
    work = folder / "work"
    secret = secrets.token_hex(8)
    (work / "notes.txt").write_text(secret)
    (work / "schema.json").write_text(SCHEMA)
    done = _process(
        ["bash", "-euo", "pipefail", "-c", command(agent, model, scenario, gateway)], folder, agent.environment
    )
    wanted = {"tool": (secret, AFTER_CALL), "structured": ('"Ulm"',)}.get(scenario, (WORD,))
    if done.returncode == 0 and all(text in done.stdout for text in wanted):
        return None
    return f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


def snippet(section: str, gateway: Gateway, folder: Path) -> str | None:
    """Runs a package's snippet of docs/clients.md. What was said if the mock's answer is not printed."""
    (folder / "work").mkdir(parents=True)
    _, code = snippets.snippets()[section]
    code = code.replace(snippets.ADDRESS, gateway.url).replace(snippets.KEY, gateway.key)
    done = _process([str(installed.python_of("sdk")), "-c", code], folder, {})
    return None if done.returncode == 0 and MOCK in done.stdout else f"{done.stdout[-1000:]}\n{done.stderr[-3000:]}"


def command(agent: Agent, model: str, scenario: Scenario, gateway: Gateway) -> str:
    """The snippet of docs/clients.md for this case."""
    _, code = snippets.snippets()[agent.name]
    options = {"structured": agent.structured, "plain": agent.plain}.get(scenario)
    changes = {
        snippets.ADDRESS: gateway.url,
        snippets.KEY: gateway.key,
        agent.model: model,
        f'"{snippets.PROMPT}"': f"{shlex.quote(agent.prompt(scenario))} {options or ''}",
        **agent.unattended,
    }
    for old, new in changes.items():
        if old not in code:
            raise ValueError(f"docs/clients.md, {agent.name}: no {old!r}")
        code = code.replace(old, new)
    return code


def _process(command: Sequence[str], home: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    path = (installed.NODE_MODULES / ".bin", installed.HOME / "aider" / "bin", installed.TOOLS, os.environ["PATH"])
    own = {"PATH": os.pathsep.join(map(str, path)), "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8"}
    try:
        return subprocess.run(
            command,
            cwd=home / "work",
            env={**own, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        said = [text.decode(errors="replace") if isinstance(text, bytes) else "" for text in (late.stdout, late.stderr)]
        return subprocess.CompletedProcess(command, -1, said[0], f"no end after {PATIENCE} s\n{said[1]}")
