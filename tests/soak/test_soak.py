"""Short soaks with fixed seeds: no unexcused errors, no leaks, and a ledger that balances."""

import functools
from pathlib import Path

import pytest

from .edge import AtTheEdge
from .run import Options, soak
from .standalone import Standalone


@pytest.mark.timeout(240)
def test_two_minutes_alone(tmp_path: Path):
    """PostgreSQL, Redis, the engine and the proxy are interrupted and return, while configs and keys change."""
    result = soak(tmp_path, Standalone, Options(seconds=105, seed=1, clients=12, pause=2))
    print(result.table)
    assert result.findings == []
    assert result.asked > 500
    done = set(result.blows)
    assert {"proxy killed (-9) and started", "proxy ended (SIGTERM) and started", "PostgreSQL killed (-9)"} <= done
    assert len(done) >= 8


@pytest.mark.timeout(180)
def test_half_a_minute_at_the_edge(tmp_path: Path):
    """The container and workerd are killed and return, with leases of ten seconds. The object is evicted, the ledger is
    slow, and another configuration is deployed every five seconds."""
    made = functools.partial(AtTheEdge, deploy_every=5)
    result = soak(tmp_path, made, Options(seconds=40, seed=1, clients=8, pause=1))
    print(result.table)
    assert result.findings == []
    assert result.asked > 50
    killed = {"container killed (-9)", "workerd killed (-9) and started", "container told to end (SIGTERM)"}
    assert killed | {"object evicted", "ledger slow"} <= set(result.blows)
    assert result.deployed >= 5
