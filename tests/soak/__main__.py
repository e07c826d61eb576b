"""`python -m tests.soak` (`just soak`): a long mixed load with random faults. Exits with 1 after a finding."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from .report import say
from .run import Options, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="just soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="of load (default: 30)")
    parser.add_argument("--seed", type=int, help="of a run that is to be repeated (default: a random one, printed)")
    parser.add_argument("--clients", type=int, default=16, help="at the same time (default: 16)")
    parser.add_argument("--pause", type=float, default=8.0, help="seconds between two blows (default: 8)")
    parser.add_argument("--keep", action="store_true", help="keep the logs also when nothing was found")
    parser.add_argument("--edge", action="store_true", help="the Worker and its container instead of the proxy alone")
    options = parser.parse_args()
    from .edge import AtTheEdge
    from .standalone import Standalone

    seed = random.randrange(1 << 31) if options.seed is None else options.seed
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    print(f"seed {seed}, logs in {directory}", flush=True)
    asked = Options(options.minutes * 60, seed, options.clients, pause=options.pause)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # also stops everything that was started
    result = soak(directory, AtTheEdge if options.edge else Standalone, asked, say)
    print(f"\n{result.table}")
    for finding in result.findings:
        print(f"FOUND: {finding}")
    if not result.findings and not options.keep:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main())
