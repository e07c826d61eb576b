"""The whole configuration: file and environment in, `Config` or the list of what is wrong out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import deployment as deployments
from . import document as documents
from . import google_credentials
from . import options as option_sections
from .deployment import Deployment
from .options import Options
from .problems import ConfigError, Problem

_SECTIONS = ("model_list", "router_settings", "litellm_settings", "general_settings", "environment_variables")


@dataclass(frozen=True, slots=True)
class Config:
    """`deployments` in the file's order; `problems`: warnings and notes only."""

    deployments: tuple[Deployment, ...]
    options: Options
    problems: tuple[Problem, ...] = ()
    name: str = "litellm_config.yaml"
    groups: Mapping[str, tuple[Deployment, ...]] = field(default_factory=dict)

    @property
    def needs_engine(self) -> bool:
        """Whether a deployment that is on can only be reached through the engine."""
        return any(d.kind == "engine" and not d.off for d in self.deployments)


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Raises ConfigError, naming every problem, when the file cannot be run."""
    document = documents.read(path)
    for name in document.data.keys() - set(_SECTIONS):
        document.error((name,), "is not a section of this file.", f"There are: {', '.join(_SECTIONS)}.")
    if document.data.get("environment_variables"):
        document.error(
            ("environment_variables",), "is not read: secrets do not belong in this file.", "Set them outside."
        )
    entries = document.data.get("model_list")
    if not isinstance(entries, list) or not entries:
        document.error(("model_list",), "is missing or empty.", "List at least one model.")
        entries = []
    names = tuple(
        dict.fromkeys(e["model_name"] for e in entries if isinstance(e, dict) and isinstance(e.get("model_name"), str))
    )
    options = option_sections.parse(document, names, environment)
    found = [
        d
        for index, entry in enumerate(entries)
        if (d := deployments.parse(document, ("model_list", index), entry, environment, options.engine_reason))
    ]
    _report_repeated_ids(document, found)
    if any(google_credentials.VARIABLE in d.needs for d in found):
        wrong = google_credentials.problem(environment)
        document.problems += [wrong] if wrong else []
    groups: dict[str, list[Deployment]] = {}
    for d in found:
        groups.setdefault(d.group, []).append(d)
    if any(p.level == "error" for p in document.problems):
        raise ConfigError(document.problems)
    return Config(
        deployments=tuple(found),
        options=options,
        problems=tuple(document.problems),
        name=path.name,
        groups={name: tuple(members) for name, members in groups.items()},
    )


def _report_repeated_ids(document: documents.Document, found: list[Deployment]) -> None:
    seen: set[str] = set()
    for index, d in enumerate(found):
        if d.id in seen:
            document.error(("model_list", index, "model_info", "id"), f"'{d.id}' stands twice.", "Ids are unique.")
        seen.add(d.id)
