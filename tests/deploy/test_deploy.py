"""`just deploy` against a fake wrangler: what it refuses, what it runs, and what it never prints."""

import json
import os
import subprocess
from typing import Any

import pytest

from dev import deploy
from tests.processes import ROOT

from .conftest import Project

GOOD_KEY = "sk-0123456789abcdef0123456789abcdef"
CLOUDFLARE = {"CLOUDFLARE_API_TOKEN": "token-of-the-tests", "CLOUDFLARE_ACCOUNT_ID": "account"}
DRY_RUN = "deploy --dry-run --containers-rollout=none"
VERSIONS = "versions list --json"
CONFIG_ONLY = "deploy --containers-rollout=none"
NO_SUCH_WORKER = (
    1,
    "",
    '✘ [ERROR] Worker "litellm-router" not found.\n\nIf this is a new Worker, run `wrangler deploy` first.',
)


def test_first_deployment(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    project.answers({"secret list": NO_SUCH_WORKER})
    assert project.deploy(**CLOUDFLARE, LITELLM_MASTER_KEY=GOOD_KEY) == 0
    asked = [VERSIONS, DRY_RUN, "secret list --format json", project.whole, "secret put LITELLM_MASTER_KEY"]
    assert project.commands == asked
    assert [call["stdin"] for call in project.calls] == ["", "", "", "", GOOD_KEY]
    assert not [call for call in project.calls if "LITELLM_MASTER_KEY" in call["environment"]]
    said = capfd.readouterr()
    assert "Not set yet: OPENAI_API_KEY for gpt-4o, " in said.out
    assert GOOD_KEY not in said.out + said.err
    assert CLOUDFLARE["CLOUDFLARE_API_TOKEN"] not in said.out + said.err


def test_first_deployment_without_a_key(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    project.answers({"secret list": NO_SUCH_WORKER})
    assert project.deploy(**CLOUDFLARE) == 1
    assert project.whole not in project.commands
    assert "openssl rand -hex 32" in capfd.readouterr().err


def test_later_deployment_needs_no_key(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    project.secrets("LITELLM_MASTER_KEY", "OPENAI_API_KEY")
    assert project.deploy(**CLOUDFLARE) == 0
    assert project.commands == [VERSIONS, DRY_RUN, "secret list --format json", project.whole]
    said = capfd.readouterr().out
    assert "OPENAI_API_KEY" not in said
    assert "Not set yet: ANTHROPIC_API_KEY for claude-sonnet" in said


@pytest.mark.parametrize("key", ["sk-1234", "sk-short-of-one", "sk-with a space in it", "sk-ünïcödé-0123456789"])
@pytest.mark.parametrize("arguments", [(), ("--dry-run",)])
def test_a_bad_key_is_refused(
    project: Project, capfd: pytest.CaptureFixture[str], key: str, arguments: tuple[str, ...]
) -> None:
    project.secrets("LITELLM_MASTER_KEY")
    assert project.deploy(*arguments, **CLOUDFLARE, LITELLM_MASTER_KEY=key) == 1
    assert project.calls == []
    said = capfd.readouterr()
    assert "LITELLM_MASTER_KEY" in said.err
    assert key == "sk-1234" or key not in said.err


def test_key_lengths() -> None:
    assert deploy.key_problem("k" * 15) is not None
    assert deploy.key_problem("k" * 16) is None


def test_an_empty_key_counts_as_missing(project: Project) -> None:
    project.secrets("LITELLM_MASTER_KEY")
    assert project.deploy(**CLOUDFLARE, LITELLM_MASTER_KEY="  ") == 0


@pytest.mark.parametrize("name", CLOUDFLARE)
@pytest.mark.parametrize("value", [None, ""])
def test_cloudflare_credentials_are_required(
    project: Project, capfd: pytest.CaptureFixture[str], name: str, value: str | None
) -> None:
    environment = {**CLOUDFLARE, "LITELLM_MASTER_KEY": GOOD_KEY}
    environment.pop(name) if value is None else environment.update({name: value})
    assert project.deploy(**environment) == 1
    assert project.calls == []
    assert f"{name} is not set" in capfd.readouterr().err


def test_a_dry_run_does_not_contact_cloudflare(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    assert project.deploy("--dry-run") == 0
    assert project.commands == [DRY_RUN]
    said = capfd.readouterr().out
    for name in (*CLOUDFLARE, "LITELLM_MASTER_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        assert name in said
    assert said.endswith("nothing was deployed.\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [("LITELLM_MASTER_KEY", GOOD_KEY), ("OPENAI_API_KEY", GOOD_KEY), ("INTERNAL_TOKEN", GOOD_KEY)],
)
def test_secrets_among_the_vars_are_refused(
    project: Project, capfd: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    project.set_vars(**{name: value})
    assert project.deploy("--dry-run") == 1
    said = capfd.readouterr().err
    assert f"{name} is a secret" in said
    assert value not in said


def test_local_development_is_refused(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    project.set_vars(LOCAL_DEVELOPMENT="true")
    assert project.deploy("--dry-run") == 1
    assert "LOCAL_DEVELOPMENT" in capfd.readouterr().err


def test_a_var_is_not_requested_as_a_secret(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    project.set_vars(AZURE_API_BASE="https://x.openai.azure.com", AZURE_API_VERSION="2024-10-21")
    assert project.deploy("--dry-run") == 0
    said = capfd.readouterr().out
    assert "AZURE_API_KEY for azure/*" in said
    assert "AZURE_API_BASE" not in said


def test_a_broken_config_stops_the_deployment(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    (project.folder / "litellm_config.yaml").write_text("model_list: [\n")
    assert project.deploy(**CLOUDFLARE, LITELLM_MASTER_KEY=GOOD_KEY) == 1
    assert project.calls == []
    assert "litellm_config.yaml" in capfd.readouterr().err


def test_the_catalog_is_rebuilt(project: Project) -> None:
    stale = project.folder / "worker" / "catalog.py"
    stale.write_text("CATALOG = {}\n")
    assert project.deploy("--dry-run") == 0
    assert "'mock'" in stale.read_text()


def test_secrets_that_cannot_be_listed_stop_the_deployment(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    project.answers({"secret list": (1, "", "✘ [ERROR] Authentication error [code: 10000]")})
    assert project.deploy(**CLOUDFLARE, LITELLM_MASTER_KEY=GOOD_KEY) == 1
    assert project.whole not in project.commands
    assert "Authentication error" in capfd.readouterr().err


def test_a_failing_deployment_is_reported(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    project.answers({"deploy --dry-run": (0, "", ""), "deploy": (1, "", "✘ [ERROR] no such plan")})
    assert project.deploy(**CLOUDFLARE, LITELLM_MASTER_KEY=GOOD_KEY) == 1
    assert project.commands[-1] == project.whole
    assert "wrangler deploy failed" in capfd.readouterr().err


def version(created: str, tag: str | None = None) -> dict[str, Any]:
    """A version in the format of `wrangler versions list --json`."""
    return {"id": created, "metadata": {"created_on": created}, "annotations": {"workers/tag": tag} if tag else {}}


def deployed(project: Project, *versions: dict[str, Any]) -> None:
    secrets = json.dumps([{"name": "LITELLM_MASTER_KEY"}])
    project.answers({"secret list": (0, secrets, ""), "versions list": (0, json.dumps(versions), "")})


def test_a_changed_config_does_not_roll_out_the_image(project: Project) -> None:
    tag = project.whole.split()[-1]
    # a config or a secret was deployed after the image
    deployed(project, version("2026-01-01", tag), version("2026-01-02"))
    (project.folder / "litellm_config.yaml").write_text("model_list: []\n")
    assert project.deploy(**CLOUDFLARE) == 0
    assert project.commands[-1] == f"{CONFIG_ONLY} --tag {tag}"


def test_a_changed_image_is_rolled_out(project: Project) -> None:
    for versions in (
        [version("2026-01-02", "image-0123456789abcdef"), version("2026-01-01", project.whole.split()[-1])],
        [version("2026-01-01", "somebody's own")],
        [version("2026-01-01")],
        [],
    ):
        deployed(project, *versions)
        assert project.deploy(**CLOUDFLARE) == 0
        assert project.commands[-1] == project.whole


@pytest.mark.parametrize("said", ["", "nonsense", "{}", "[1]", '[{"metadata": null}]'])
def test_unreadable_versions_cause_a_full_deployment(project: Project, said: str) -> None:
    project.answers(
        {"secret list": (0, json.dumps([{"name": "LITELLM_MASTER_KEY"}]), ""), "versions list": (0, said, "")}
    )
    assert project.deploy(**CLOUDFLARE) == 0
    assert project.commands[-1] == project.whole


def test_config_only_can_be_requested(project: Project) -> None:
    project.secrets("LITELLM_MASTER_KEY")
    assert project.deploy("--config-only", **CLOUDFLARE) == 0
    assert project.commands == [DRY_RUN, "secret list --format json", CONFIG_ONLY]


def test_a_key_that_cannot_be_stored_is_reported(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    project.answers({"secret put": (1, "", f"cannot put {GOOD_KEY}")})
    assert project.deploy(**CLOUDFLARE, LITELLM_MASTER_KEY=GOOD_KEY) == 1
    said = capfd.readouterr().err
    assert "is deployed, but its LITELLM_MASTER_KEY could not be put" in said
    assert GOOD_KEY not in said


def test_needs_with_alternatives() -> None:
    needs = {"a": [["GEMINI_API_KEY|GOOGLE_API_KEY"]], "b": [["X"], ["GEMINI_API_KEY|GOOGLE_API_KEY"]], "mock": [[]]}
    assert deploy.unmet(needs, {"GOOGLE_API_KEY", "X"}) == []
    assert deploy.unmet(needs, {"X"}) == [
        "GEMINI_API_KEY or GOOGLE_API_KEY for a, b: just wrangler secret put GEMINI_API_KEY"
    ]


def test_the_command_from_any_folder() -> None:
    """As `just deploy` runs it: from any folder, with the usual help and usage errors."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CLOUDFLARE", "LITELLM"))}

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        script = ROOT / "dev" / "deploy"
        return subprocess.run(
            [script, *arguments], cwd="/", env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    helped = command("--help")
    assert helped.returncode == 0
    assert "--dry-run" in helped.stdout
    assert command("--no-such-option").returncode == 2
    refused = command()
    assert refused.returncode == 1
    assert "CLOUDFLARE_API_TOKEN is not set" in refused.stderr
    assert "Traceback" not in refused.stderr
