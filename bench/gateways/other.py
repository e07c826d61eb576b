"""Our proxy as it is in another checkout, to see in one run what a change does:

git worktree add ../before origin/main
BENCH_CHECKOUT=../before python -m bench --only minimal ours other
"""

import os
from pathlib import Path

from .ours import Ours

CHECKOUT = os.environ.get("BENCH_CHECKOUT")


class Other(Ours):
    name = "other"
    title = "LiteLLM Router: another checkout"
    root = Path(CHECKOUT or ".").resolve()
