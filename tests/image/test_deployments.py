"""The image as the deployment pages run it: restricted as in Compose, and with the bundled configs."""

import subprocess
import uuid
from collections.abc import Iterator

import pytest
import yaml

from tests.processes import ROOT

from .docker import BUILD_TIMEOUT, COMMAND, MASTER_KEY, Container, docker

pytestmark = pytest.mark.timeout(BUILD_TIMEOUT + 120)

COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose" / "compose.yaml").read_text())["services"]["litellm"]


@pytest.fixture
def volume(image: str) -> Iterator[str]:
    name = f"ledger-{uuid.uuid4().hex}"
    docker("volume", "create", name)
    yield name
    subprocess.run([COMMAND, "volume", "rm", "--force", name], check=True, capture_output=True, timeout=60)


def shut_in(volume: str) -> tuple[str, ...]:
    """The `docker create` options for what compose.yaml sets on the gateway."""
    assert COMPOSE["read_only"]
    assert "ledger:/data" in COMPOSE["volumes"]
    return (
        "--read-only",
        *(f"--tmpfs={path}" for path in COMPOSE["tmpfs"]),
        *(f"--cap-drop={name}" for name in COMPOSE["cap_drop"]),
        *(f"--security-opt={option}" for option in COMPOSE["security_opt"]),
        f"--volume={volume}:/data",
    )


def test_keys_survive_in_a_container_that_can_write_only_to_its_volume(image: str, volume: str) -> None:
    environment = {"LEDGER_PATH": COMPOSE["environment"]["LEDGER_PATH"]}
    with Container(image, environment=environment, options=shut_in(volume)) as first:
        status, made = first.post("/key/generate", {"key_alias": "kept"})
        assert status == 200, made
        assert first.stop() == 0, first.log()
    chat = {"model": "mock", "messages": [{"role": "user", "content": "hello"}]}
    with Container(image, environment=environment, options=shut_in(volume)) as second:
        status, answer = second.post("/v1/chat/completions", chat, key=made["key"])
        assert status == 200, answer


@pytest.mark.parametrize(("name", "model"), [("railway-workers", "gpt-4o-mini"), ("railway-bot", "gpt-4o")])
def test_documented_config_is_in_the_image(image: str, volume: str, name: str, model: str) -> None:
    environment = {
        "LITELLM_CONFIG": f"/app/deploy/{name}/litellm_config.yaml",
        "LEDGER_PATH": "/data/ledger.db",
        "PORT": "4123",
        "OPENAI_API_KEY": "sk-none",
        "OPENROUTER_API_KEY": "sk-none",
    }
    with Container(image, environment=environment, port=4123, options=(f"--volume={volume}:/data",)) as one:
        status, health = one.get("/health")
        assert status == 200
        assert model in health["models"]
        assert one.post("/key/generate", {}, key=MASTER_KEY)[0] == 200
