"""Every page: its links lead somewhere, the files and paths that it names exist."""

import re
from pathlib import Path

import pytest

from tests.processes import ROOT
from worker.core.api.endpoints import TABLE

PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")])
FOLDERS = "worker|container|dev|tests|bench|deploy|docs|requirements"
# Made by whoever installs or runs it.
MADE = ("deploy/compose/.env", "worker/catalog.py")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_files_that_it_names_exist(page: Path):
    for name in re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", page.read_text()):
        assert (ROOT / name).exists() or name in MADE, name


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_tests_that_it_rests_on_exist(page: Path):
    for name in re.findall(r"(?<![\w/])tests/[\w/]+(?:\.py)?", page.read_text()):
        assert (ROOT / name).exists(), name


def test_the_endpoints_that_carry_over_are_ours():
    same = (ROOT / "docs" / "migration.md").read_text().split("## The same")[1].split("## Different")[0]
    named = [path for path in re.findall(r"`(/[\w/{}*-]+)`", same) if path != "/v1"]
    assert len(named) > 15
    for path in named:
        bare = path.removeprefix("/v1")
        prefix = bare.removesuffix("*")
        known = (
            bare in TABLE or bare == "/key/{key}/regenerate" or any(p.startswith(prefix) for p in TABLE if "*" in bare)
        )
        assert known, path


def test_the_apis_page_names_every_endpoint_or_the_page_that_does():
    text = "".join(
        (ROOT / "docs" / f"{name}.md").read_text() for name in ("api", "keys", "accounts", "metrics", "sign-in")
    )
    missing = [path for path in TABLE if path not in text]
    assert not missing
