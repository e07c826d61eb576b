"""docs/quickstart.md, followed from its first config to the last command, in a folder of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.pages import Page, shell
from tests.fakes.environment import pointing_at
from tests.fakes.server import FakeProvider
from tests.processes import ROOT, free_tcp_port

PAGE = Page("quickstart")
README = (ROOT / "README.md").read_text()
IN_VENV = {".venv/bin/": f"{Path(sys.executable).parent}/"}


@pytest.fixture(params=[False, True], ids=["without a provider's key", "with OpenAI's"])
def environment(request: pytest.FixtureRequest, fake: FakeProvider, tmp_path: Path) -> dict[str, str]:
    return {"LEDGER_PATH": str(tmp_path / "ledger.db"), **(pointing_at(fake) if request.param else {})}


@pytest.fixture
def checked(environment: dict[str, str], tmp_path: Path) -> str:
    """What step 2 prints, its config written."""
    return shell(PAGE.block("cat >my_config.yaml"), IN_VENV, environment, tmp_path)


@pytest.fixture
def port(checked: str, environment: dict[str, str], tmp_path: Path) -> Iterator[int]:
    """Where the gateway of step 3 listens."""
    port = free_tcp_port()
    script = PAGE.block("litellm-router serve").replace("4000", str(port))
    script = script.replace(".venv/bin/", "exec " + IN_VENV[".venv/bin/"])
    command, path = ["bash", "-euc", script], {"PATH": os.environ["PATH"]}
    with subprocess.Popen(command, cwd=tmp_path, env=environment | path, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        try:
            assert any(b'"event":"listening"' in line for line in process.stderr), "it did not start"
            yield port
        finally:
            process.terminate()
            process.stderr.read()
            assert process.wait(30) == 0


def test_from_the_config_to_what_was_spent(checked: str, port: int, environment: dict[str, str], tmp_path: Path):
    with_openai = "OPENAI_API_KEY" in environment
    assert ("off: assistant (set OPENAI_API_KEY)" in checked) != with_openai
    # One after the other in one shell, as in the page's second terminal.
    script = "".join(PAGE.block(word) for word in ("curl --include", "keys create", "spend keys"))
    replaced = {**IN_VENV, "curl ": "curl --silent --show-error ", "http://127.0.0.1:4000": f"http://127.0.0.1:{port}"}
    address = {"LITELLM_ROUTER_URL": f"http://127.0.0.1:{port}"}
    printed = shell(script, replaced, environment | address, tmp_path).replace("\r", "")
    answered = "assistant" if with_openai else "spare"
    assert f"\nx-litellm-model-group: {answered}\n" in printed
    assert printed.count('"chat.completion"') == 2
    assert printed.count("Hello from the spare model!") == (0 if with_openai else 2)
    assert re.search(r"(?m)^ada +sk-", printed), "the key's line of `spend keys`"
    assert re.search(r"(?m)^20.* ada +assistant ", printed), "its request in `spend logs`"


def test_its_installation_is_the_readmes():
    assert PAGE.block("just setup").strip() == "pip install uv && uvx --from rust-just just setup gateway"
    assert "pip install uv && uvx --from rust-just just dev" in README
