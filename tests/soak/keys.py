"""Operations through the admin API, the same at both entrances, and provider outages."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.processes import MASTER_KEY

from .judge import Judge
from .models import KEYS
from .provider import SoakProvider

OUTAGE = (0.5, 3.0)  # seconds
SHORT_OUTAGE = (0.3, 0.8)

Admin = Callable[[], httpx.Client]


def make_keys(admin: httpx.Client) -> dict[str, str]:
    """{name: secret}, including the master key."""
    made = {"master": MASTER_KEY}
    with admin:
        for name, fields in KEYS.items():
            answer = admin.post("/key/generate", json={"key_alias": name, **fields})
            answer.raise_for_status()
            made[name] = answer.json()["key"]
    return made


def rotate(admin: Admin, keys: dict[str, str]) -> None:
    """Rotates the key. The old secret stays valid during the grace period."""
    with admin() as client:
        made = client.post(f"/key/{keys['rotating']}/regenerate", json={"grace_period": "2m"})
        made.raise_for_status()
        keys["rotating"] = made.json()["key"]


async def block_for_a_while(judge: Judge, admin: Admin, keys: dict[str, str], seconds: float) -> None:
    def do(what: str) -> None:
        with admin() as client:
            client.post(f"/key/{what}", json={"key": keys["blocked"]}).raise_for_status()

    with judge.window("key blocked", "refused 401 for blocked", "refused 429 for blocked", after=1):
        await asyncio.to_thread(do, "block")
        await asyncio.sleep(seconds)
        await asyncio.to_thread(do, "unblock")


async def provider_away(judge: Judge, shaky: SoakProvider, seconds: float) -> None:
    """Refuses connections to the provider and closes existing ones. Groups continue with their fallback."""

    def away() -> None:
        with shaky.down():
            time.sleep(seconds)

    lost = "refused 502 of alone", "refused 503 of alone", "refused 429 of alone", "broken"
    with judge.window("provider away", *lost, after=20):
        await asyncio.to_thread(away)


def spend_at_rest(admin: Admin, limit: float) -> dict[str, Any]:
    """The global spend, once no request is open or the given number of seconds has passed."""
    deadline = time.monotonic() + limit
    with admin() as client:
        while (spend := client.get("/global/spend").json())["running_requests"] and time.monotonic() < deadline:
            time.sleep(0.5)
    return spend
