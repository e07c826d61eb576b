"""docs/metrics.md and the dashboard name metrics that there are."""

import json
import re

import pytest

from container.observability import metrics
from tests.metrics.conftest import Watched, watched
from tests.processes import ROOT
from worker.core.api.endpoints import TABLE

__all__ = ["watched"]

PAGE = (ROOT / "docs" / "metrics.md").read_text()
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "litellm-router.json").read_text())
_NAME = re.compile(r"\b(?:litellm_router|process)_[a-z_]+")
AT_THE_EDGE = {"litellm_router_container_running"}


def expressions() -> list[str]:
    found = [t["expr"] for panel in DASHBOARD["panels"] for t in panel.get("targets", ())]
    return found + [variable["definition"] for variable in DASHBOARD["templating"]["list"] if "definition" in variable]


def there_is(watched: Watched) -> dict[str, set[str]]:
    """The labels of each metric, by the names under which Prometheus keeps it."""
    recorded = {family.name: family for family in (*metrics.RECORDED, *metrics.families())}
    found = {name: set(family.labels) for name, family in recorded.items() if family.kind != "histogram"}
    for family in (f for f in recorded.values() if f.kind == "histogram"):
        found[f"{family.name}_bucket"] = {*family.labels, "le"}
    for sample in watched.scrape().samples:
        found.setdefault(sample.name, set(sample.labels))
    return found


def test_every_expression_of_the_dashboard_names_metrics_and_labels_that_there_are(watched: Watched):
    known = there_is(watched)
    assert len(expressions()) > 25
    for expression in expressions():
        names = _NAME.findall(expression)
        assert names, expression
        for name in names:
            assert name in known, expression
        labels = set().union(*(known[name] for name in names)) | {"job", "instance"}
        for grouped in re.findall(r"by \(([^)]*)\)", expression):
            assert {label.strip() for label in grouped.split(",")} <= labels, expression
        for chosen in re.findall(r"\{([^}]*)\}", expression):
            assert set(re.findall(r"(\w+)(?:=~|!=|!~|=)", chosen)) <= labels, expression


def test_every_panel_is_in_its_place():
    seen: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & seen, panel["title"]
        seen |= cells


def test_the_page_names_every_metric_and_no_other(watched: Watched):
    families = watched.scrape().families.values()
    there = {f.name + ("_total" if f.type == "counter" else "") for f in families} | AT_THE_EDGE
    assert set(_NAME.findall(PAGE)) == there


@pytest.mark.parametrize("state", ["2xx", "4xx", "5xx", "client_left", "other"])
def test_the_page_names_the_words_that_labels_take(state: str):
    assert f"`{state}`" in PAGE


def test_there_is_such_an_endpoint():
    assert TABLE["/metrics"].methods == ("GET", "HEAD")
