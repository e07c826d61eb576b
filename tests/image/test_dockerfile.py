"""Checks the Dockerfile without building it."""

import fnmatch
import json
import re
from pathlib import PurePosixPath

from tests.processes import ROOT

BASE = "python:3.13-slim"
BUILDKIT_ONLY = ("--mount", "--chmod", "--link", "--parents", "--exclude", "<<")


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest) pairs, with continuation lines joined and comments removed."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert not [line for line in lines if re.match(r"#\s*(syntax|escape|check)\s*=", line)], "a parser directive"
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#")).replace("\\\n", " ")
    return [
        (name.upper(), rest.strip()) for name, _, rest in (line.partition(" ") for line in text.splitlines()) if name
    ]


def every(name: str) -> list[str]:
    return [rest for found, rest in instructions() if found == name]


def ignored(path: str) -> bool:
    """Whether .dockerignore excludes `path` from the build. The last pattern that matches it or a parent folder
    decides."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keeps = pattern.startswith("!")
        one = PurePosixPath(pattern.removeprefix("!"))
        above = [PurePosixPath(path), *PurePosixPath(path).parents][:-1]
        if any(_names(str(one), str(part)) for part in above):
            verdict = not keeps
    return verdict


def _names(pattern: str, path: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatchcase(path.rpartition("/")[2], pattern.removeprefix("**/"))
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)


def test_every_stage_has_the_same_base() -> None:
    assert {stage.split()[0] for stage in every("FROM")} == {BASE}


def test_build_needs_no_arguments_and_no_buildkit() -> None:
    assert every("ARG") == []
    assert every("ADD") == []
    for name, rest in instructions():
        assert not [word for word in BUILDKIT_ONLY if word in rest], f"{name} {rest}"


def test_container_settings() -> None:
    assert every("USER")[-1].isdigit()
    assert int(every("USER")[-1]) > 0
    assert every("EXPOSE") == ["4000"]
    assert json.loads(every("ENTRYPOINT")[-1]) == ["tini", "--", "litellm-router", "serve"]
    assert every("CMD") == []
    assert "LITELLM_HOST=::" in every("ENV")[-1].split()
    assert every("WORKDIR")[-1] == "/app"
    assert "litellm_config.yaml /app/litellm_config.yaml" in every("COPY")


def test_health_check() -> None:
    (check,) = every("HEALTHCHECK")
    assert dict(re.findall(r"--([a-z-]+)=(\S+)", check)) == {
        "interval": "30s",
        "timeout": "5s",
        "start-period": "10s",
        "retries": "3",
    }


def test_packages_are_installed_with_their_hashes() -> None:
    (install,) = [rest for rest in every("RUN") if "pip " in rest]
    assert "--require-hashes" in install
    assert "--only-binary :all:" in install


def test_copied_files_exist_and_are_not_ignored() -> None:
    sources = [word for rest in every("COPY") if not rest.startswith("--from") for word in rest.split()[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not ignored(source), source


def test_no_other_file_reaches_the_build() -> None:
    for path in (
        ".git/config",
        ".dev.vars",
        ".env",
        "container/.env",
        "container/.env.local",
        "worker/.dev.vars",
        "container/__pycache__/cli.cpython-313.pyc",
        "tests/conftest.py",
        "requirements/dev.txt",
        "node_modules/wrangler/package.json",
        "deploy/compose.yaml",
        "README.md",
    ):
        assert ignored(path), path
    assert not ignored("container/routing/router.py")
    assert not ignored("worker/core/api/errors.py")
