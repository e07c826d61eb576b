"""Our proxy as it is in another checkout, to see in one run what a change does:

git worktree add ../before origin/main
BENCH_CHECKOUT=../before python -m bench --only minimal ours other ours-limited other-limited
"""

import os
from pathlib import Path

from .ours import Ours, OursLimited

CHECKOUT = os.environ.get("BENCH_CHECKOUT")


class Other(Ours):
    name = "other"
    title = "LiteLLM Router: another checkout"
    root = Path(CHECKOUT or ".").resolve()


class OtherLimited(OursLimited):
    name = "other-limited"
    title = "LiteLLM Router: another checkout, limited key"
    root = Other.root
