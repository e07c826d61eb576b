"""The snippets of docs/clients.md, run as they stand but for the address, by the clients that they are about.

Clients that .venv does not have are run by `just clients`.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients import cases
from tests.clients.snippets import ADDRESS, PAGE, snippets
from tests.processes import ROOT, RunningProxy, StartProxy

ELSEWHERE = {*cases.SNIPPETS, *(agent.name for agent in cases.AGENTS)}
SECTIONS = {name: f"{kind}\n{code}" for name, (kind, code) in snippets().items() if name not in ELSEWHERE}
BIN = Path(sys.executable).parent
ANSWER = "This is the answer of the model that needs no provider."


@pytest.fixture(scope="module")
def gateway(module_proxy: StartProxy) -> RunningProxy:
    params = {"model": "openai/mock", "mock_response": ANSWER}
    return module_proxy({"model_list": [{"model_name": "mock", "litellm_params": params}]}, master_key="sk-1234")


def run(command: list, environment: Mapping[str, str], folder: Path) -> str:
    ended = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=100
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize("name", SECTIONS)
def test_the_snippet(name: str, gateway: RunningProxy, tmp_path: Path):
    language, _, code = SECTIONS[name].partition("\n")
    assert ADDRESS in code
    code = code.replace(ADDRESS, gateway.url)
    environment = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "LLM_USER_PATH": str(tmp_path / "llm"),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # fetches no prices
    }
    if language == "python":
        printed = run([sys.executable, "-c", code], environment, tmp_path)
    elif language == "javascript":
        (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
        script = tmp_path / "snippet.mjs"
        script.write_text(code)
        node = shutil.which("node", path=environment["PATH"])
        assert node is not None
        printed = run([node, str(script)], environment, tmp_path)
    else:
        printed = run(["bash", "-euo", "pipefail", "-c", code], environment, tmp_path)
    if name == "curl":
        said = re.findall(r'"content":\s*"((?:[^"\\]|\\.)*)"', printed)
        printed = "".join(said)
    assert ANSWER in printed


def test_there_is_a_snippet_for_each_client():
    assert PAGE.read_text().count("\n```") == 2 * len(snippets())
    assert snippets().keys() > ELSEWHERE
    assert list(SECTIONS) == [
        "curl",
        "OpenAI's package, Python",
        "OpenAI's package, Node",
        "Anthropic's package",
        "LangChain",
        "Pydantic AI",
        "Vercel's AI SDK",
        "LiteLLM's SDK",
        "llm",
    ]
