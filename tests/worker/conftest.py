"""The Worker's modules find each other from `worker/`, as they do in its runtime."""

import sys

from tests.processes import ROOT

sys.path.append(str(ROOT / "worker"))
