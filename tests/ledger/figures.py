"""Benchmark of the ledger: CPU and wall time of an admission and a settlement on each store, singly and in batches.

.venv/bin/python -m tests.ledger.figures
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from container.accounting.ledger import LedgerBatcher
from container.stores import PostgresStore, SqliteStore, Store
from tests.ledger.corpus import PROSE, USUAL
from tests.ledger.postgres_server import PostgresServer
from tests.ledger.support import NOON, Ledger, check_balance
from tests.ledger.tokenizers import loaded
from worker.core.ledger.accounts import Limits, Policy
from worker.core.ledger.settle import Report
from worker.core.pricing.estimate import LARGEST, WEIGHTS, prompt, text_tokens
from worker.core.pricing.prices import price
from worker.core.pricing.quote import quote

REQUESTS = 3000


async def measure(name: str, stores: list[Store], clients: int) -> None:
    """Measures with every limit on: key, user and global budget, requests, tokens and parallel requests."""
    policy = Policy(everyone=Limits(max_budget=10**15, duration="1d"), each_user=Limits(max_budget=10**15))
    ledgers = [Ledger(store, policy) for store in stores]
    for ledger in ledgers:
        await ledger.store.open()
    limits = {"rpm_limit": 10**6, "tpm_limit": 10**9, "max_parallel_requests": 10**6}
    key = await ledgers[0].key(max_budget=1e6, budget_duration="1d", user_id="ada", **limits)
    admissions: list[float] = []
    settlements: list[float] = []

    async def client(ledger: Ledger) -> None:
        for _ in range(REQUESTS // clients):
            began = time.perf_counter()
            id = (await ledger.admit(key, 1000, tokens=10))["reservation"]
            between = time.perf_counter()
            await ledger.settle(id, 900, prompt_tokens=5, completion_tokens=5)
            admissions.append(between - began)
            settlements.append(time.perf_counter() - between)

    async def in_batches(ledger: Ledger, batcher: LedgerBatcher) -> None:
        for _ in range(REQUESTS // clients):
            began = time.perf_counter()
            id = (await batcher.admit(ledger.request(key, 1000, tokens=10)))["reservation"]
            admissions.append(time.perf_counter() - began)
            batcher.later(Report(id, "one", 900, prompt_tokens=5, completion_tokens=5))
            settlements.append(0.0)
            await asyncio.sleep(0)

    await client(ledgers[0])  # prepares statements
    admissions.clear()
    settlements.clear()
    await timed(name, [client(ledgers[i % len(ledgers)]) for i in range(clients)], admissions, settlements)
    gathering = [LedgerBatcher(store, policy, lambda: NOON, alone=True) for store in stores]
    work = [asyncio.create_task(batcher.work()) for batcher in gathering]
    admissions.clear()
    settlements.clear()
    both = list(zip(ledgers, gathering, strict=True))
    jobs = [in_batches(*both[i % len(both)]) for i in range(clients)]
    await timed(f"{name}, in batches", jobs, admissions, settlements)
    for batcher, task in zip(gathering, work, strict=True):
        await batcher.settled()
        task.cancel()
    await check_balance(stores[0])
    for store in stores:
        await store.close()


async def timed(name: str, jobs: list[Any], admissions: list[float], settlements: list[float]) -> None:
    """Runs the jobs, whose requests append their times in seconds to the lists."""
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*jobs)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    done = len(admissions)
    p99 = [statistics.quantiles(times, n=100)[98] * 1000 for times in (admissions, settlements)]
    print(
        f"{name}, {len(jobs)} clients: {done / wall:.0f} requests/s (an admission and a settlement each), "
        f"{cpu / done * 1e6:.0f} µs CPU here, p99 {p99[0]:.1f} ms and {p99[1]:.1f} ms"
    )


def ratios() -> None:
    """Estimate ÷ exact count over the corpus' ordinary texts, for each tokenizer with the table of its models."""
    together: list[float] = []
    for tokenizer, count in loaded().items():
        table = tokenizer if tokenizer in WEIGHTS else LARGEST
        each = [text_tokens(text, table) / count(text) for text in USUAL]
        together += each
        print(f"{tokenizer} by the weights of {table}: median {statistics.median(each):.2f}, least {min(each):.2f}")
    print(f"together: median {statistics.median(together):.2f}")


def estimates() -> None:
    prices = price({"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6})
    for characters in (100, 1000, 10_000):
        text = (PROSE["english"] * 100)[:characters]
        body = {"messages": [{"role": "user", "content": text}]}
        began = time.process_time()
        for _ in range(300):
            quote(body, prompt(body), [("a", prices)])
        print(f"estimate and quote of {characters} characters: {(time.process_time() - began) / 300 * 1e6:.0f} µs CPU")


async def main() -> None:
    ratios()
    estimates()
    with tempfile.TemporaryDirectory() as directory:
        for clients in (1, 16):
            await measure("SQLite in memory", [SqliteStore(":memory:")], clients)
            await measure("SQLite file", [SqliteStore(Path(directory) / f"{clients}.db")], clients)
    with PostgresServer() as server:
        for clients in (1, 16, 64):
            url = server.new_database()
            await measure("PostgreSQL, two pools", [PostgresStore(url), PostgresStore(url)], clients)


if __name__ == "__main__":
    asyncio.run(main())
