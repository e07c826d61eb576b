"""Short soaks with fixed seeds: no unexcused errors, no leaks of secrets, and a ledger that balances.

Every kind of disruption happens once. `just soak` runs for longer, and looks at memory, too.
"""

import functools
from pathlib import Path

import pytest

from .edge import AtTheEdge
from .run import Options, soak
from .standalone import Standalone


@pytest.mark.timeout(180)
def test_every_disruption_alone(tmp_path: Path):
    """PostgreSQL, Redis, the engine and the proxy are interrupted and return, while configs and keys change."""
    make = functools.partial(Standalone, short=True)
    result = soak(tmp_path, make, Options(None, seed=1, clients=12, pause=0.5))
    print(result.table)
    assert result.findings == []
    assert result.asked > 100
    assert len(result.blows) == 11


@pytest.mark.timeout(180)
def test_every_disruption_at_the_edge(tmp_path: Path):
    """The container and workerd are killed and return, with leases of ten seconds. The object is evicted, the ledger is
    slow, and another configuration is deployed every three seconds."""
    make = functools.partial(AtTheEdge, short=True)
    result = soak(tmp_path, make, Options(None, seed=1, clients=8, pause=0.5))
    print(result.table)
    assert result.findings == []
    assert result.asked > 50
    assert len(result.blows) == 8
    assert result.deployed >= 3
