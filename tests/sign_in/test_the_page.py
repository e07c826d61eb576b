"""The commands of docs/sign-in.md."""

import re
import subprocess

from container.server.settings import read
from tests.processes import ROOT


def test_its_settings_are_settings():
    page = (ROOT / "docs" / "sign-in.md").read_text()
    (block,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    done = subprocess.run(
        ["env", "-i", "sh", "-euc", f"{block}\n/usr/bin/env"], capture_output=True, text=True, check=True
    )
    given = dict(line.split("=", 1) for line in done.stdout.splitlines())
    found = read(given).sign_in
    assert found is not None
    assert (found.base_url, found.issuer) == ("https://gateway.example.com", "https://login.example.com")
    assert found.role_of({"groups": ["staff", "llm-operators"]}) == "proxy_admin"
    assert found.role_of({"groups": ["staff"]}) == ""
