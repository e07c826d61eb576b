"""Coding agents on one budget: how far do they get?

Each loop sends what Claude Code sends: a long prompt with cache markers and `max_tokens` of 32,000, to a model at
Claude Opus' prices, and gets 500 tokens. Nine tenths of the prompt are read from the cache, the rest is written to it.

    .venv/bin/python -m tests.accounting.agent_loops

prints how much of $5 is spent when the first loop and when the last loop is refused.
"""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.ledger.corpus import PROSE
from tests.processes import MASTER_KEY, RunningProxy

BUDGET = 5.0
ANSWER, LIMIT = 500, 32_000
# The price map's, so that a change there does not change what is tested.
PRICES = {
    "input_cost_per_token": 5e-6,
    "output_cost_per_token": 25e-6,
    "cache_creation_input_token_cost": 6.25e-6,
    "cache_creation_input_token_cost_above_1hr": 10e-6,
    "cache_read_input_token_cost": 0.5e-6,
}
CACHED: dict[str, Any] = {"type": "ephemeral"}


class Found(NamedTuple):
    """US dollars spent when the first loop was refused, and in the end. `calls`: how many were answered; `lowered`: how
    many of them with a lower output limit. `most`: the most that was spent and reserved at a time."""

    first: float
    spent: float
    calls: int
    lowered: int
    most: float


def config(provider: FakeProvider) -> dict[str, Any]:
    params = {"model": "anthropic/claude-opus-4-5", "api_base": provider.url, "api_key": "sk-provider"}
    return {
        "model_list": [{"model_name": "opus", "litellm_params": params, "model_info": PRICES}],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }


def request(size: int) -> bytes:
    """A Messages request with a prompt of `size` bytes."""
    text = PROSE["english"] * (size // len(PROSE["english"]) + 1)
    system = [{"type": "text", "text": text[: size // 4], "cache_control": CACHED}]
    said = [{"type": "text", "text": text[: size - size // 4], "cache_control": CACHED}]
    messages = [{"role": "user", "content": said}]
    return json.dumps({"model": "opus", "max_tokens": LIMIT, "system": system, "messages": messages}).encode()


def answer(size: int) -> bytes:
    """A message whose usage has a token for every four bytes of the prompt."""
    tokens = size // 4
    written = tokens // 10
    return json.dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-opus-4-5",
            "content": [{"type": "text", "text": "Done."}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": 0,
                "cache_creation_input_tokens": written,
                "cache_read_input_tokens": tokens - written,
                "output_tokens": ANSWER,
            },
        }
    ).encode()


async def run(url: str, provider: FakeProvider, loops: int, size: int, delay: float = 0.05) -> Found:
    """Runs the loops on a new key until each has been refused."""
    provider.always(Behaviour(raw=(answer(size),), delay=delay))
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    body, refused, counted, most = request(size), [], {"calls": 0, "lowered": 0}, 0.0
    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=60)) as session:
        async with session.post("/key/generate", json={"max_budget": BUDGET}, headers=headers) as made:
            key = (await made.json())["key"]

        async def held() -> tuple[float, float]:
            async with session.get("/key/info", params={"key": key}, headers=headers) as found:
                info = (await found.json())["info"]
            return info["spend"], info["reserved"]

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, sum(await held()))
                await asyncio.sleep(0.02)

        async def loop() -> None:
            while True:
                sent = {"x-api-key": key, "anthropic-version": "2023-06-01", "content-type": "application/json"}
                async with session.post("/v1/messages", data=body, headers=sent) as said:
                    text = await said.text()
                    if said.status != 200:
                        assert said.status == 429, (said.status, text)
                        refused.append((await held())[0])
                        return
                    counted["calls"] += 1
                    counted["lowered"] += "x-litellm-output-limit" in said.headers

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(loop() for _ in range(loops)))
        watching.cancel()
        return Found(refused[0], (await held())[0], counted["calls"], counted["lowered"], most)


async def main() -> None:
    with FakeProvider() as provider, tempfile.TemporaryDirectory() as directory:
        environment = {"LEDGER_PATH": ":memory:"}
        with RunningProxy(config(provider), Path(directory), environment=environment) as proxy:
            print("| loops | prompt, kB | calls | lowered | spent at the first refusal | spent in the end |")
            print("|---|---|---|---|---|---|")
            for loops, size in ((8, 100_000), (1, 400_000), (2, 400_000), (4, 400_000)):
                found = await run(proxy.url, provider, loops, size)
                spent = [f"${usd:.2f} ({usd / BUDGET:.0%})" for usd in (found.first, found.spent)]
                row = (loops, size // 1000, found.calls, found.lowered, *spent)
                print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
