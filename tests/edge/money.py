"""Keys and spend at the edge, from the operator's and the clients' side."""

from typing import Any

from tests import money
from tests.money import wait_for

from .conftest import Edge


class Money(money.Money):
    def __init__(self, edge: Edge) -> None:
        assert edge.master_key is not None
        super().__init__(edge.client, edge.master_key)
        self.edge = edge

    def settled(self, key: str, lines: int = 1, seconds: float = 10.0) -> list[dict[str, Any]]:
        """Waits for the given number of spend log lines of the key and returns them."""
        return wait_for(lambda: self.logs(key), lambda found: len(found) == lines, seconds)
