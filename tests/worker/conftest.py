"""Puts `worker/` on the import path, as in the Worker's runtime."""

import sys

from tests.processes import ROOT

sys.path.append(str(ROOT / "worker"))
