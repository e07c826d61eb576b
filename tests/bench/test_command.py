"""`python -m bench`: a short run from end to end, its output and its errors. Timings are not checked."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench import measure
from bench.gateways import ALL
from bench.gateways.base import Running, Unavailable
from bench.gateways.limits import Direct
from bench.processes import ROOT, DidNotStart


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)


def test_a_quick_run(tmp_path: Path):
    short = ("--quick", "--workloads", "plain", "stream", "--connections", "2", "--seconds", "0.2", "--prime", "0.1")
    done = bench(
        *short, "--only", "direct", "minimal", "ours", "--soak-requests", "40", "--output", str(tmp_path / "out")
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(found["gateways"]) == ["direct", "minimal", "ours"]
    assert found["missing"] == {}
    for gateway in found["gateways"].values():
        for workload in ("plain", "stream"):
            cell = gateway["cells"][workload]["2"]
            assert (cell["errors"], cell["error"]) == (0, "")
            assert cell["requests"] > 0
            assert cell["cpu"]["total"] > 0
            assert 0 < cell["p50"] <= cell["p99"]
            assert (cell["first_p50"] is None) == (workload == "plain")
    assert found["gateways"]["minimal"]["cells"]["plain"]["2"]["times"] == 1.0
    assert found["gateways"]["ours"]["started"] > 0
    assert found["gateways"]["ours"]["loaded"]["rss"] > 10
    assert (found["soak"]["requests"], found["soak"]["errors"]) == (40, 0)
    assert done.stdout.startswith("## CPU per request")
    assert "ours" not in done.stdout.split("## Latency")[0].splitlines()[0]
    ET.fromstring((tmp_path / "out" / "overhead.svg").read_text())


def test_other_wire_formats_on_request(tmp_path: Path):
    short = ("--quick", "--workloads", "plain", "stream", "--connections", "2", "--seconds", "0.2", "--prime", "0.1")
    done = bench(
        *short, "--only", "ours-gemini", "ours-claude", "--soak-requests", "0", "--output", str(tmp_path / "out")
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(found["gateways"]) == ["ours-gemini", "ours-claude"]
    for gateway in found["gateways"].values():
        for workload in ("plain", "stream"):
            cell = gateway["cells"][workload]["2"]
            assert (cell["errors"], cell["error"]) == (0, "")
            assert cell["requests"] > 0


def test_the_help_lists_the_choices():
    done = bench("--help")
    assert done.returncode == 0
    for word in ("--quick", "--only", "--soak-requests", "tensorzero", "portkey", "python -m bench.profile"):
        assert word in done.stdout


def test_an_unknown_gateway_is_refused():
    done = bench("--only", "nginx")
    assert done.returncode == 2
    assert "invalid choice: 'nginx'" in done.stderr


def test_the_documents_figures_come_from_full_runs():
    done = bench("--quick", "--write-docs")
    assert done.returncode == 2
    assert "full run" in done.stderr


class NotInstallable(Direct):
    name = "absent"

    def install(self, cache: Path) -> str:
        raise Unavailable("the registry does not have it")


class Failing(Direct):
    name = "failing"

    def start(self, provider: str, directory: Path) -> Running:
        raise DidNotStart("ended with exit code 1: no memory")


class Wrong(Direct):
    """A gateway that sends wrong responses."""

    name = "wrong"

    def start(self, provider: str, directory: Path) -> Running:
        running = super().start(provider, directory)
        running.chat_url = provider.replace("127.0.0.1", "127.0.0.2") + "/chat/completions"
        return running


def test_a_gateway_that_cannot_be_measured_is_named_and_the_run_continues(tmp_path: Path, monkeypatch):
    for gateway in (NotInstallable, Failing, Wrong):
        monkeypatch.setitem(ALL, gateway.name, gateway)
    lines: list[str] = []
    plan = measure.Plan(
        ["absent", "failing", "wrong", "direct"], ("plain",), (1,), rounds=1, seconds=0.1, warm_up=0, prime=0.1
    )
    run = measure.run(plan, tmp_path, tmp_path, lines.append)
    assert list(run.subjects) == ["direct"]
    assert run.missing["absent"] == "the registry does not have it"
    assert run.missing["failing"] == "ended with exit code 1: no memory"
    assert "cannot connect" in run.missing["wrong"]
    assert any("not measured, the registry does not have it" in line for line in lines)


def test_a_run_without_gateways_fails(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(ALL, "absent", NotInstallable)
    plan = measure.Plan(["absent"])
    with pytest.raises(Unavailable, match="absent: the registry does not have it"):
        measure.run(plan, tmp_path, tmp_path, lambda _: None)
