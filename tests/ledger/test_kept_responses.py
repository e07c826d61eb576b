"""Kept responses on every store: one owner each, an end, and a bound on their total size."""

import asyncio

import pytest

from container.stores import Store
from tests.ledger.support import NOON, Ledger, query
from worker.core.ledger import key_admin
from worker.core.ledger.decision import Decision
from worker.core.ledger.kept_responses import MASTER, find, forget, keep, trim

DAY = 86_400_000
MOST = 1000


@pytest.fixture
async def owner(store: Store) -> str:
    await Ledger(store).key(key="sk-owner", key_alias="owner")
    return (await query(store, "SELECT id FROM ledger_keys"))[0][0]


def kept(store: Store, id: str, owner: str, content: str = "content", now: int = NOON, days: int = 30) -> Decision:
    return keep(store.dialect, id, owner, (content, ""), now, now + days * DAY, MOST)


async def content(store: Store, id: str, owner: str, now: int = NOON) -> str | None:
    found = (await store.run(find(id, owner, now)))["content"]
    return found and found[0]


async def test_only_its_owner_finds_it(store: Store, owner: str) -> None:
    assert (await store.run(kept(store, "a", owner)))["kept"]
    assert (await store.run(kept(store, "b", MASTER)))["kept"]
    assert await content(store, "a", owner) == "content"
    assert await content(store, "a", MASTER) is None
    assert await content(store, "b", owner) is None
    assert await content(store, "c", owner) is None


async def test_only_its_owner_deletes_it_and_only_once(store: Store, owner: str) -> None:
    await store.run(kept(store, "a", owner))
    assert not (await store.run(forget("a", MASTER, NOON)))["deleted"]
    assert (await store.run(forget("a", owner, NOON)))["deleted"]
    assert not (await store.run(forget("a", owner, NOON)))["deleted"]
    assert await content(store, "a", owner) is None


async def test_it_ends_in_time_and_is_removed(store: Store, owner: str) -> None:
    for index in range(5):
        await store.run(kept(store, f"r{index}", owner, days=1))
    await store.run(kept(store, "later", owner, days=2))
    end = NOON + DAY
    assert await content(store, "r0", owner, end - 1) == "content"
    assert await content(store, "r0", owner, end) is None
    assert not (await store.run(forget("r0", owner, end)))["deleted"]
    assert [(await store.run(trim(store.dialect, end, 3)))["deleted"] for _ in range(3)] == [3, 1, 0]
    assert await query(store, "SELECT id FROM ledger_responses") == [("later",)]


async def test_the_oldest_make_room(store: Store, owner: str) -> None:
    await store.run(kept(store, "other", MASTER, "x" * 900))
    for index, size in enumerate((300, 300, 300, 100)):
        await store.run(kept(store, f"r{index}", owner, "x" * size, NOON + index))
    assert len(await query(store, "SELECT id FROM ledger_responses")) == 5
    await store.run(kept(store, "new", owner, "x" * 301, NOON + 4))
    left = await query(store, "SELECT id FROM ledger_responses WHERE owner = ? ORDER BY id", owner)
    assert left == [("new",), ("r2",), ("r3",)]
    await store.run(kept(store, "whole", owner, "x" * MOST, NOON))  # as after a clock moved back
    assert await query(store, "SELECT id FROM ledger_responses WHERE owner = ?", owner) == [("whole",)]
    assert not (await store.run(kept(store, "too large", owner, "x" * (MOST + 1))))["kept"]
    assert await content(store, "whole", owner) is not None
    assert await content(store, "other", MASTER) is not None


async def test_a_deleted_key_leaves_nothing(store: Store, owner: str) -> None:
    await store.run(kept(store, "a", owner))
    await store.run(kept(store, "b", MASTER))
    assert (await store.run(key_admin.delete(store.dialect, {"keys": ["sk-owner"]})))["ok"]
    assert await query(store, "SELECT id FROM ledger_responses") == [("b",)]
    assert not (await store.run(kept(store, "late", owner)))["kept"]


async def test_what_a_deletion_missed_is_removed(store: Store, owner: str) -> None:
    """A response may be inserted while its key is being deleted."""
    await store.run(kept(store, "a", owner))
    await store.run(kept(store, "b", MASTER))
    await query(store, "DELETE FROM ledger_keys WHERE id = ?", owner)
    assert (await store.run(trim(store.dialect, NOON, 10)))["deleted"] == 1
    assert await query(store, "SELECT id FROM ledger_responses") == [("b",)]


async def test_rotation_changes_nothing(store: Store, owner: str) -> None:
    await store.run(kept(store, "a", owner))
    await store.run(key_admin.regenerate(store.dialect, "sk-owner", {}, NOON))
    assert await content(store, "a", owner) == "content"
    assert (await store.run(trim(store.dialect, NOON, 10)))["deleted"] == 0


async def test_the_bound_holds_for_concurrent_responses(store: Store, owner: str) -> None:
    await asyncio.gather(*(store.run(kept(store, f"r{index}", owner, "x" * 90, NOON + index)) for index in range(40)))
    await store.run(kept(store, "last", owner, "x" * 90, NOON + 100))
    total = await query(store, "SELECT CAST(SUM(size) AS BIGINT) FROM ledger_responses WHERE owner = ?", owner)
    assert total[0][0] <= MOST
