"""Runs command lines as printed in the descriptions. Only the gateway's address is replaced."""

import json
import os
import subprocess
from dataclasses import dataclass
from typing import Any, NamedTuple

# `curl` as printed, plus the status on the last line.
_CURL = r"""curl() { command curl --silent --show-error --max-time 100 --write-out '\n%{http_code}' "$@"; }"""


@dataclass(frozen=True)
class Gateway:
    """`url` is without `/v1`. A `key` of None means that no key is required."""

    url: str
    key: str | None


class Answer(NamedTuple):
    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def content(self) -> str:
        """The text of a chat completion."""
        return self.json["choices"][0]["message"]["content"]


def run(command: str, gateway: Gateway, *, host: str) -> Answer:
    """Runs `command` in bash, with `host` replaced by the gateway's address and $LITELLM_MASTER_KEY set to its key."""
    assert host in command, "the command names another host"
    environment = {"PATH": os.environ["PATH"], "LITELLM_MASTER_KEY": gateway.key or ""}
    script = f"{_CURL}\n{command.replace(host, gateway.url)}"
    ended = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=110)
    assert ended.returncode == 0, f"exit code {ended.returncode}: {ended.stderr}"
    text, _, status = ended.stdout.rpartition("\n")
    return Answer(int(status), text)
