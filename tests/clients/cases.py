"""The clients and their cases: who is run with which model, and what is expected."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.clients.models import MODELS

Scenario = Literal["plain", "stream", "tool", "structured"]
# The lock that has the package: package.json, or a file in requirements/.
Installed = Literal["npm", "sdk", "aider"]
SCENARIOS: tuple[Scenario, ...] = ("plain", "stream", "tool", "structured")
# What is spelt backwards in the prompt and has to come back forwards.
WORD = "marmalade"
SCHEMA = (
    '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], '
    '"additionalProperties": false}'
)


@dataclass(frozen=True)
class Package:
    """A package's driver, run once for all models."""

    name: str
    driver: str
    package: str
    installed: Installed
    api: str
    edge: bool = False


@dataclass(frozen=True)
class Agent:
    """An agent, run from its snippet of docs/clients.md, one process per case.

    unattended  words of the snippet, and what they are replaced with where nobody can be asked
    tool        what the prompt tells the model to call, to read notes.txt
    structured  options for SCHEMA, in the file schema.json
    answer_tool the tool that the agent has the model call with the structured output, if it has one
    plain       options for an answer that is not streamed, if there are any
    """

    name: str
    package: str
    installed: Installed
    api: str
    model: str
    unattended: Mapping[str, str]
    tool: str | None = None
    structured: str | None = None
    answer_tool: str | None = None
    plain: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    edge: bool = False

    def processes(self) -> Iterator[tuple[Scenario, ...]]:
        """The scenarios that one process shows: an agent's answer to a tool's result is a stream."""
        if self.plain is not None:
            yield ("plain",)
        yield ("stream",) if self.tool is None else ("tool", "stream")
        if self.structured is not None:
            yield ("structured",)

    def prompt(self, scenario: Scenario) -> str:
        if scenario == "tool":
            return f"CALL {self.tool} "
        if scenario == "structured" and self.answer_tool is not None:
            return f'CALL {self.answer_tool} {{"city": "Ulm"}} '
        return f"REVERSE {WORD[::-1]} "


Client = Package | Agent

AGENTS = (
    Agent(
        "Codex",
        "@openai/codex",
        "npm",
        "responses",
        "gpt-6.2-sol",
        {"codex exec": "codex exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox"},
        tool='exec_command {"cmd": "cat notes.txt"}',
        structured="--output-schema schema.json",
        edge=True,
    ),
    Agent(
        "Claude Code",
        "@anthropic-ai/claude-code",
        "npm",
        "messages",
        "claude-sonnet-5-5",
        {"claude -p": "claude -p --dangerously-skip-permissions"},
        tool='Bash {"command": "cat notes.txt", "description": "read"}',
        structured='--output-format json --json-schema "$(cat schema.json)"',
        answer_tool="StructuredOutput",
        environment={"IS_SANDBOX": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
        edge=True,
    ),
    Agent(
        "opencode",
        "opencode-ai",
        "npm",
        "chat",
        "gpt-5.4",
        {},
        tool='bash {"command": "cat notes.txt", "description": "read"}',
        environment={"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_PURE": "1"},
        edge=True,
    ),
    Agent(
        "Gemini CLI",
        "@google/gemini-cli",
        "npm",
        "gemini",
        "gemini-3.8-flash",
        {"gemini -m": "gemini -y -m"},
        tool='run_shell_command {"command": "cat notes.txt"}',
        environment={"GEMINI_CLI_TRUST_WORKSPACE": "true"},
        edge=True,
    ),
    Agent(
        "aider",
        "aider-chat",
        "aider",
        "chat",
        "gpt-5.4",
        {"aider ": "aider --yes-always --no-git --no-check-update --no-analytics --no-show-release-notes "},
        plain="--no-stream",
        environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    ),
)

PACKAGES = (
    Package("OpenAI, Python", "openai_chat.py", "openai", "sdk", "chat", edge=True),
    Package("OpenAI, Python", "openai_responses.py", "openai", "sdk", "responses", edge=True),
    Package("OpenAI, Node", "openai_chat.mjs", "openai", "npm", "chat"),
    Package("OpenAI, Node", "openai_responses.mjs", "openai", "npm", "responses"),
    Package("Agents SDK", "agents_responses.py", "openai-agents", "sdk", "responses"),
    Package("Agents SDK", "agents_chat.py", "openai-agents", "sdk", "chat"),
    Package("Anthropic, Python", "anthropic_sdk.py", "anthropic", "sdk", "messages"),
    Package("google-genai", "google_genai.py", "google-genai", "sdk", "gemini"),
    Package("AI SDK, openai", "ai_sdk_openai.mjs", "@ai-sdk/openai", "npm", "responses"),
    Package("AI SDK, anthropic", "ai_sdk_anthropic.mjs", "@ai-sdk/anthropic", "npm", "messages"),
    Package("AI SDK, openai-compatible", "ai_sdk_compatible.mjs", "@ai-sdk/openai-compatible", "npm", "chat"),
    Package("LangGraph", "langgraph_agent.py", "langgraph", "sdk", "chat"),
    Package("Pydantic AI", "pydantic_ai_chat.py", "pydantic-ai-slim", "sdk", "chat"),
    Package("Pydantic AI", "pydantic_ai_responses.py", "pydantic-ai-slim", "sdk", "responses"),
    Package("LiteLLM", "litellm_sdk.py", "litellm", "sdk", "chat"),
)


# Sections of docs/clients.md with a snippet in Python, whose packages .venv does not have.
SNIPPETS = ("Agents SDK", "Google's package", "LangGraph")


@dataclass(frozen=True)
class Task:
    """What one process does: the scenarios with each of the models. `door` is the gateway's."""

    client: Client
    door: Literal["proxy", "edge"]
    models: Sequence[str]
    scenarios: Sequence[Scenario]


def tasks(names: str, models: Sequence[str], *, edge: bool) -> Iterator[Task]:
    """All processes, the slow ones first. `names` is part of a client's name."""
    doors: tuple[Literal["proxy", "edge"], ...] = ("proxy", "edge") if edge else ("proxy",)
    asked = [model.name for model in MODELS if not models or model.name in models]
    for door in doors:
        for agent in AGENTS:
            if names.lower() in agent.name.lower() and (door == "proxy" or agent.edge):
                yield from (Task(agent, door, (model,), shown) for model in asked for shown in agent.processes())
    for door in doors:
        for package in PACKAGES:
            if names.lower() in package.name.lower() and (door == "proxy" or package.edge):
                yield Task(package, door, asked, SCENARIOS)
