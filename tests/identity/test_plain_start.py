"""A proxy whose config accepts no JWTs loads nothing of this."""

import subprocess
import sys

from tests.processes import ROOT

_PROGRAM = """
import sys
import container.cli.main, container.cli.serve, container.proxy.gateway, container.proxy.configurations
unwanted = ("jwt", "cryptography", "container.server.token_door", "container.config.jwt_auth")
print(*(name for name in sys.modules if name in unwanted or name.endswith(".identity.authenticator")))
"""


def test_a_plain_start_imports_nothing_for_tokens():
    done = subprocess.run([sys.executable, "-c", _PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
