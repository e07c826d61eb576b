"""Fixtures for the image: built once, and skipped without a Docker engine."""

import subprocess

import pytest

from dev.runtime_choice import docker_problem

from . import docker


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of the image, built from this tree. Skips the test without a Docker engine."""
    problem = docker_problem()
    if problem:
        pytest.skip(f"the image needs Docker, and {problem}")
    return docker.build(tmp_path_factory.mktemp("image"))


@pytest.fixture
def has_ipv6(image: str) -> None:
    """Skips the test if containers have no IPv6, not even the loopback address."""
    code = "import socket; socket.create_server(('::1', 0), family=socket.AF_INET6)"
    options = ("--entrypoint", "python")
    if subprocess.run([docker.COMMAND, "run", "--rm", *options, image, "-c", code], check=False).returncode:
        pytest.skip("this engine gives its containers no IPv6")
