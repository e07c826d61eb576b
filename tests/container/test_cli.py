"""`litellm-router check`, `catalog` and the startup errors of `serve`: output and exit codes."""

import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from container.cli.main import main
from container.proxy import catalog
from tests.processes import ROOT

MODELS: list[dict[str, Any]] = [
    {"model_name": "free", "litellm_params": {"model": "openai/x", "mock_response": "hi"}},
    {"model_name": "gpt", "litellm_params": {"model": "openai/x", "api_key": "os.environ/MINE"}},
    {"model_name": "gemini", "litellm_params": {"model": "gemini/x"}},
]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """`run("check", content, environment)` returns the exit code, standard output and standard error."""
    for name in (
        "MINE",
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
        "LITELLM_MASTER_KEY",
        "LITELLM_HOST",
        "PORT",
        "LITELLM_PORT",
    ):
        monkeypatch.delenv(name, raising=False)

    def command(
        name: str,
        content: Mapping[str, Any] | str,
        environment: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
    ) -> tuple[int, str, str]:
        path = tmp_path / "config.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(dict(content), sort_keys=False))
        with monkeypatch.context() as patch:
            for variable, value in (environment or {}).items():
                patch.setenv(variable, value)
            code = main([name, "--config", str(path), *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return command


# check


def test_check_lists_enabled_models_and_what_enables_the_others(run):
    code, out, err = run("check", {"model_list": MODELS})
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "1 of 3 models are on: free",
        "off: gpt (set MINE)",
        "off: gemini (set GEMINI_API_KEY or GOOGLE_API_KEY)",
    ]


def test_check_explains_why_the_engine_is_needed(run):
    code, out, _ = run("check", {"model_list": MODELS}, {"MINE": "sk", "GEMINI_API_KEY": "k"})
    assert code == 0
    assert out.splitlines() == [
        "3 of 3 models are on: free, gpt, gemini",
        "The translation engine (LiteLLM) is started for: gemini",
    ]


def test_check_reports_every_error_with_file_line_and_key_and_exits_1(run):
    code, out, err = run(
        "check", "model_list:\n  - model_name: 5\n    litellm_params: {model: openai/x}\ngeneral_setting: {a: 1}\n"
    )
    assert (code, out) == (1, "")
    assert [line.split(" error: ")[0] for line in err.splitlines()] == [
        "config.yaml:4: general_setting:",
        "config.yaml:2: model_list[0].model_name:",
    ]


def test_check_prints_warnings_and_notes_and_exits_0(run):
    params = {"model": "openai/x", "api_base": "http://elsewhere.example/v1"}
    content = {
        "model_list": [{"model_name": "a", "litellm_params": params}],
        "litellm_settings": {"set_verbose": True},
    }
    code, _, err = run("check", content, {"OPENAI_API_KEY": "k"})
    assert code == 0
    assert [line.split(": ")[2] for line in err.splitlines()] == ["note", "warning"]


def test_check_reads_the_environment(run):
    code, _, err = run("check", {"model_list": MODELS}, {"MAX_BODY_MB": "lots", "MINE": "k"})
    assert code == 1
    assert err.startswith("environment: error: MAX_BODY_MB='lots' cannot be used: ")


def test_check_reports_every_environment_problem_at_once(run):
    bad = {"MAX_BODY_MB": "lots", "SHUTDOWN_GRACE": "soon", "LITELLM_PORT": "http", "MINE": "k"}
    code, _, err = run("check", {"model_list": MODELS}, bad)
    assert code == 1
    assert [line.split("=")[0] for line in err.splitlines()] == [
        f"environment: error: {name}" for name in ("LITELLM_PORT", "MAX_BODY_MB", "SHUTDOWN_GRACE")
    ]


def test_check_reports_every_reason_not_to_serve(run):
    content = {"model_list": MODELS, "general_settings": {"virtual_keys": [{"key": "os.environ/KEY"}]}}
    code, _, err = run("check", content, {"LITELLM_HOST": "0.0.0.0", "KEY": "sk-some-secret"})
    assert code == 1
    assert "could spend your money" in err
    assert "nobody needs a key" in err


VERTEX = [{"model_name": "v", "litellm_params": {"model": "vertex_ai/gemini-2.5-pro"}}]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("/no/such/file.json", "names a file that cannot be read (No such file or directory)"),
        ('{"private_key": s3cret}', "holds no valid JSON"),
        ('{"private_key": "s3cret"}', "holds no credentials"),
        ('{"type": "service_account"}', None),
    ],
)
def test_check_validates_google_credentials(run, given, said):
    code, _, err = run("check", {"model_list": VERTEX}, {"GOOGLE_APPLICATION_CREDENTIALS": given})
    assert code == 0
    assert (f"environment: warning: GOOGLE_APPLICATION_CREDENTIALS {said}" in err) if said else err == ""
    assert "s3cret" not in err


def test_google_credentials_are_ignored_when_no_model_needs_them(run):
    _, _, err = run("check", {"model_list": MODELS}, {"GOOGLE_APPLICATION_CREDENTIALS": "/no/such/file", "MINE": "k"})
    assert err == ""


@pytest.mark.parametrize("words", [["litellm-router"], ["python", "-m", "container"]])
def test_version_is_the_projects(words):
    command = [Path(sys.executable).with_name(words[0]), *words[1:], "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert done.stdout == f"litellm-router {project['version']}\n"


def test_check_of_a_missing_file_exits_1(capsys, tmp_path):
    assert main(["check", "--config", str(tmp_path / "absent.yaml")]) == 1
    assert "there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ({"LITELLM_HOST": "0.0.0.0"}, 1),
        ({"LITELLM_HOST": "0.0.0.0", "ALLOW_ANONYMOUS": "true"}, 1),
        ({"LITELLM_HOST": "0.0.0.0", "LITELLM_MASTER_KEY": "sk-1"}, 0),
        ({"LITELLM_HOST": "0.0.0.0", "LITELLM_MASTER_KEY": "sk-1234"}, 1),
        ({"LITELLM_HOST": "0.0.0.0", "LITELLM_MASTER_KEY": "sk-1234", "LOCAL_DEVELOPMENT": "true"}, 1),
        ({"LITELLM_HOST": "127.0.0.1", "LITELLM_MASTER_KEY": "sk-1234"}, 0),
        ({"LITELLM_HOST": "127.0.0.1"}, 0),
        ({"LITELLM_HOST": "::", "INTERNAL_TOKEN": "t"}, 0),
    ],
)
def test_check_fails_where_serve_would_reject_the_config(run, environment, code):
    found, _, err = run("check", {"model_list": MODELS}, environment)
    assert found == code
    assert ("LITELLM_MASTER_KEY" in err) is bool(code)


def test_check_prints_no_secret(run):
    content = {"model_list": MODELS, "general_settings": {"master_key": "sk-s3cret"}}
    _, out, err = run("check", content, {"MINE": "sk-s3cret", "LITELLM_MASTER_KEY": "sk-s3cret"})
    assert "s3cret" not in out + err


def test_shipped_config_passes_without_any_key(capsys, monkeypatch):
    from tests.processes import ROOT

    monkeypatch.delenv("LITELLM_HOST", raising=False)
    assert main(["check", "--config", str(ROOT / "litellm_config.yaml")]) == 0
    assert "mock" in capsys.readouterr().out.splitlines()[0]


def test_config_may_be_named_by_the_environment(capsys, monkeypatch, tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump({"model_list": MODELS}))
    monkeypatch.setenv("LITELLM_CONFIG", str(path))
    assert main(["check"]) == 0
    assert "1 of 3 models" in capsys.readouterr().out


# catalog


def test_catalog_writes_once_and_checks(run, tmp_path, monkeypatch):
    target = tmp_path / "catalog.py"
    monkeypatch.setattr(catalog, "DEFAULT_PATH", target)
    monkeypatch.setattr(catalog.write, "__defaults__", (target,))
    content = {"model_list": MODELS}
    assert run("catalog", content, arguments=("--check",))[0] == 1
    assert not target.exists()
    assert run("catalog", content)[:2] == (0, "worker/catalog.py written\n")
    assert run("catalog", content)[:2] == (0, "worker/catalog.py is up to date\n")
    assert run("catalog", content, arguments=("--check",))[0] == 0
    code, _, err = run("catalog", {"model_list": MODELS[:2]}, arguments=("--check",))
    assert code == 1
    assert "out of date. Run: litellm-router catalog" in err


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_catalog_of_a_broken_config_exits_1(run, arguments):
    code, _, err = run("catalog", {"model_list": "none"}, arguments=arguments)
    assert code == 1
    assert "config.yaml:1: model_list: error: " in err


# serve


@pytest.mark.parametrize(
    ("content", "environment", "said"),
    [
        ({"model_list": "none"}, {}, "config.yaml:1: model_list: error: "),
        (
            {"model_list": MODELS, "litellm_settings": {"max_budget": "os.environ/NO_SUCH_BUDGET"}},
            {},
            "litellm-router: A budget of the config is in NO_SUCH_BUDGET",
        ),
        ({"model_list": MODELS}, {"PORT": "http"}, "litellm-router: PORT='http' cannot be used: "),
        (
            {"model_list": MODELS},
            {"LITELLM_HOST": "0.0.0.0"},
            "litellm-router: Without a LITELLM_MASTER_KEY anyone who ",
        ),
        (
            {"model_list": MODELS},
            {"LITELLM_HOST": "0.0.0.0", "ALLOW_ANONYMOUS": "true"},
            "litellm-router: ALLOW_ANONYMOUS needs a global budget",
        ),
        (
            {"model_list": MODELS},
            {"LITELLM_HOST": "nonesuch.invalid", "LITELLM_MASTER_KEY": "sk-1"},
            "litellm-router: Cannot listen on nonesuch.invalid",
        ),
    ],
)
def test_serve_prints_why_it_does_not_start(run, content, environment, said):
    code, out, err = run("serve", content, environment)
    assert (code, out) == (1, "")
    assert err.startswith(said)
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [("--port", "65536"), ("--port", "-1")])
def test_invalid_port_on_the_command_line_is_rejected(run, arguments):
    code, _, err = run("serve", {"model_list": MODELS}, arguments=arguments)
    assert code == 1
    assert "LITELLM_PORT" in err


@pytest.mark.parametrize("arguments", [[], ["nonesuch"], ["serve", "--port", "http"], ["check", "--nonesuch"]])
def test_wrong_usage_exits_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: litellm-router" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "check", "catalog", "dev"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert "--config" in capsys.readouterr().out
