"""The snippets of docs/clients.md, by section."""

import re

from dev.setup import ROOT

PAGE = ROOT / "docs" / "clients.md"
# As they stand in the snippets.
ADDRESS = "http://127.0.0.1:8787"
KEY = "sk-1234"
PROMPT = "Hello"


def snippets() -> dict[str, tuple[str, str]]:
    """{section: (language, code)} of the first block of each section that has one."""
    found: dict[str, tuple[str, str]] = {}
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        block = re.search(r"```(\w+)\n(.*?)```", text, re.DOTALL)
        if block is not None:
            found[title] = (block[1], block[2])
    return found
