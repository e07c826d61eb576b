"""`python -m dev.licences`: writes docs/licences.md from the metadata of the packages in the image."""

import re
import runpy
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
HEAD = """# Licences

This program is MIT ([LICENSE](../LICENSE)). The image also holds these packages, under their own licences. Written by
`.venv/bin/python -m dev.licences` from `requirements/container.txt`, without what `deploy/image/trim.py` leaves out,
and the packages' metadata. `litellm[proxy]` brings LiteLLM's commercial package along, `litellm-enterprise`: an
installation by the lock has it, the image has not, and nothing here uses it.

`container/config/litellm_prices.json` is LiteLLM's map of prices, MIT, Copyright (c) 2023 Berri AI.

| package | licence |
|---|---|
"""


def locked() -> list[str]:
    """The packages of requirements/container.txt that are in the image."""
    trim = runpy.run_path(str(ROOT / "deploy" / "image" / "trim.py"))
    text = trim["kept_requirements"]((ROOT / "requirements" / "container.txt").read_text())
    return re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)


def licence(package: Distribution) -> str:
    """The package's SPDX expression, otherwise its classifiers, otherwise the first line of its license field."""
    data = package.metadata
    if data["License-Expression"]:
        return data["License-Expression"]
    named = [
        value.rpartition(" :: ")[2] for value in data.get_all("Classifier") or () if value.startswith("License ::")
    ]
    named = [name for name in named if name != "OSI Approved"]
    return ", ".join(named) or (data["License"] or "see the package").strip().splitlines()[0][:80]


def page() -> str:
    rows = []
    for name in locked():
        try:
            rows.append(f"| {name} | {licence(distribution(name))} |")
        except PackageNotFoundError:
            rows.append(f"| {name} | of another platform: see the package |")
    return HEAD + "\n".join(rows) + "\n"


def main() -> int:
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
