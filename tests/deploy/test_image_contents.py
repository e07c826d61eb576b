"""The image's hash changes with the image's contents and with nothing else."""

import re
import shutil
from pathlib import Path

import pytest

from dev.image_contents import LEFT_OUT, PARTS, image_hash
from tests.processes import ROOT


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__", "page"))
        else:
            (tmp_path / part).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / part, tmp_path / part)
    return tmp_path


@pytest.mark.parametrize(
    "changed", ["Dockerfile", "container/proxy/gateway.py", "worker/core/protocol.py", "deploy/image/trim.py"]
)
def test_the_hash_changes_with_the_contents(copy: Path, changed: str) -> None:
    before = image_hash(copy, "")
    path = copy / changed
    path.write_text(path.read_text() + "\n")
    assert image_hash(copy, "") != before


def test_the_hash_changes_with_a_name(copy: Path) -> None:
    before = image_hash(copy, "")
    (copy / "container" / "proxy" / "gateway.py").rename(copy / "container" / "proxy" / "gateways.py")
    assert image_hash(copy, "") != before


def test_the_hash_does_not_include_the_configuration(copy: Path) -> None:
    before = image_hash(copy, "")
    (copy / "worker" / "catalog.py").write_text("CATALOG = {}\n")
    (copy / "litellm_config.yaml").write_text("model_list: []\n")
    assert image_hash(copy, "") == before
    assert set(LEFT_OUT) <= set((ROOT / ".dockerignore").read_text().splitlines())


def test_the_hash_covers_everything_the_dockerfile_copies() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    configs = [name for name in names if name.endswith("litellm_config.yaml")]
    assert [name for name in names if name not in configs and not name.startswith(PARTS)] == []


def test_the_hash_changes_with_a_secret_that_only_the_image_has(copy: Path) -> None:
    first, second = (image_hash(copy, f'{{"api_key": "os.image/{name * 32}"}}') for name in "ab")
    assert len({first, second, image_hash(copy, "")}) == 3
