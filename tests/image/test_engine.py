"""The image's LiteLLM, without the parts that trim.py removes: every provider and endpoint still works."""

import json

import pytest

from tests.processes import ROOT

from .docker import BUILD_TIMEOUT, docker

pytestmark = pytest.mark.timeout(BUILD_TIMEOUT + 300)


def test_every_provider_and_endpoint_works(image: str) -> None:
    container = docker("create", "--entrypoint", "python", image, "-m", "tests.image.probe").split()[-1]
    try:
        docker("cp", str(ROOT / "tests"), f"{container}:/app/tests")
        report = json.loads(docker("start", "--attach", container, timeout=300))
    finally:
        docker("rm", "--force", container)
    assert {name: answer for name, answer in report["answers"].items() if answer != "ok"} == {}
    assert len(report["answers"]) == 23
    assert report["bedrock_signature"] == "AWS4-HMAC-SHA256"
    assert report["called_home"] == []
