"""Keys and spending at the edge, as its operator and its clients see them."""

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
        """The key's lines in the spend log, once there are so many."""
        return wait_for(lambda: self.logs(key), lambda found: len(found) == lines, seconds)
