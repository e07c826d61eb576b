"""The results as the table of docs/clients.md."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.clients.cases import AGENTS, PACKAGES, SCENARIOS, Client
from tests.clients.models import MODELS
from tests.clients.run import Result

HERE = Path(__file__).parent
START, END = "<!-- results: just clients --write -->\n", "<!-- end of results -->\n"
_SIGNS = {"ok": "✓", "failed": "✗", "does not apply": "–"}


def versions() -> Mapping[tuple[str, str], str]:
    """{(lock, package): version}"""
    found = {("npm", name): it for name, it in json.loads((HERE / "package.json").read_text())["dependencies"].items()}
    for lock in ("sdk", "aider"):
        text = (HERE / "requirements" / f"{lock}.txt").read_text()
        found |= {(lock, name): it for name, it in re.findall(r"^([a-z0-9-]+)==([^ ]+) ", text, re.MULTILINE)}
    return found


def rows() -> list[tuple[Client, str]]:
    """(client, door) of each line."""
    clients: tuple[Client, ...] = (*AGENTS, *PACKAGES)
    return [(client, "proxy") for client in clients] + [(client, "edge") for client in clients if client.edge]


def rendered(results: Iterable[Result]) -> str:
    """A line for each client, with a sign for each scenario in the column of each model."""
    told = {(r.task.client.name, r.task.client.api, r.task.door, r.model, r.scenario): r.failed for r in results}
    known = versions()
    lines = ["| Client | API | " + " | ".join(model.whose for model in MODELS) + " |"]
    lines.append("|---|---|" + "---|" * len(MODELS))
    for client, door in rows():
        if not any(key[:3] == (client.name, client.api, door) for key in told):
            continue
        cells = []
        for model in MODELS:
            outcomes = [_outcome(told, (client.name, client.api, door, model.name, scenario)) for scenario in SCENARIOS]
            cells.append(" ".join(_SIGNS[outcome] for outcome in outcomes))
        at = ", at the edge" if door == "edge" else f" {known[client.installed, client.package]}"
        lines.append(f"| {client.name}{at} | {client.api} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _outcome(told: Mapping[tuple[str, str, str, str, str], str | None], key: tuple[str, str, str, str, str]) -> str:
    if key not in told:
        return "does not apply"
    return "ok" if told[key] is None else "failed"


def written(page: str, table: str) -> str:
    """The page with this table between the markers."""
    before, rest = page.split(START)
    return f"{before}{START}\n{table}\n{END}{rest.split(END)[1]}"


def shown(page: str) -> str:
    """The table between the page's markers."""
    return page.split(START)[1].split(END)[0].strip() + "\n"
