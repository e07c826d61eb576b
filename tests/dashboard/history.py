"""Writes a ledger with a history: keys and thirty days of requests, made by its own decisions with the clock set
back.
"""

import random
import time
from pathlib import Path

from container.stores import SqliteStore
from tests.ledger.support import Ledger
from worker.core.ledger.accounts import Policy
from worker.core.values import periods

MODELS = (("claude-sonnet", 9_000_000), ("gpt-4o", 6_000_000), ("gpt-4o-mini", 400_000), ("gemini-flash", 250_000))
KEYS = (
    ("support-bot", {"models": ["gpt-4o*", "claude-sonnet"], "max_budget": 5, "rpm_limit": 120}),
    ("web-app", {"user_id": "ada", "max_budget": 20, "tpm_limit": 200_000, "max_parallel_requests": 8}),
    ("nightly-batch", {"models": ["gemini-flash"], "max_budget": 1.5}),
)
DAYS, PER_DAY = 30, 150


async def write(path: Path, policy: Policy, days: int = DAYS) -> dict[str, str]:
    """Returns the secrets of the keys by alias. Today's requests lie between midnight (UTC) and now."""
    store = SqliteStore(path)
    await store.open()
    today = int(time.time() * 1000)
    ledger = Ledger(store, policy, now=today - days * periods.DAY)
    draw = random.Random(7)
    secrets = {alias: await ledger.key(key_alias=alias, budget_duration="1d", **fields) for alias, fields in KEYS}
    moments = sorted(draw.randrange(ledger.now, today) for _ in range(days * PER_DAY))
    for number, at in enumerate(moments):
        ledger.now = at
        (model, price), alias = draw.choice(MODELS), draw.choice([*secrets, None])
        if alias == "nightly-batch":
            model, price = MODELS[3]
        elif alias == "support-bot" and model == "gemini-flash":
            model, price = MODELS[1]
        tokens, cost = draw.randrange(200, 4000), draw.randrange(price, 4 * price)
        id = f"{number:032x}"
        admitted = await ledger.admit(secrets[alias] if alias else None, cost, model=model, id=id)
        if not admitted["ok"]:
            continue  # its budget for that day is exhausted
        failed = draw.random() < 0.04
        await ledger.settle(
            id,
            0 if failed else cost,
            answered_by=model,
            status=draw.choice((429, 502)) if failed else 200,
            latency=draw.randrange(300, 9000),
            prompt_tokens=tokens,
            completion_tokens=0 if failed else tokens // 3,
        )
    await store.close()
    return secrets
