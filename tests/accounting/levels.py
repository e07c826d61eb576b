"""Many concurrent requests with keys of teams, with tags, while a budget at every level allows only some of them."""

import contextlib
from collections.abc import Sequence

from tests.accounting.crowd import Crowd
from tests.fakes.server import FakeProvider
from tests.money import Money, wait_for

# Of each key: its team, its tags, its user, and how many requests fit into its own budget.
KEYS = [
    ("blue", ["day", "batch"], "ada", 30),
    ("blue", ["night"], "ada", 30),
    ("blue", [], "bob", 30),
    ("red", ["day", "night"], "bob", 30),
    ("red", ["batch"], "eve", 30),
]
# Of each other account: how many requests fit.
FITS = {"team:blue": 50, "team:red": 35, "tag:day": 33, "tag:night": 27, "tag:batch": 41, "user:ada": 37, "global": 70}
LIMIT = 50


def nano(dollars: float) -> int:
    return round(dollars * 1e9)


def accounts(number: int) -> list[str]:
    """The accounts with a budget that a key's requests draw on."""
    team, tags, user, _ = KEYS[number]
    found = [f"key:{number}", f"team:{team}", f"user:{user}", "global", *(f"tag:{tag}" for tag in tags)]
    return [account for account in found if account in FITS or account.startswith("key:")]


async def check(gateway: Money, urls: Sequence[str], fake: FakeProvider, reserved: int, cost: int, count: int) -> None:
    """`gateway`: its global budget is FITS["global"] times `reserved`, the nano-dollars that a request reserves, and
    nothing waits there. `cost`: of a request, in nano-dollars. `count`: of requests."""

    def budget(account: str) -> float:
        return FITS[account] * reserved / 1e9

    for team in ("blue", "red"):
        gateway.admin("/team/new", {"team_id": team, "max_budget": budget(f"team:{team}")})
    for tag in ("day", "night", "batch"):
        gateway.admin("/tag/new", {"name": tag, "max_budget": budget(f"tag:{tag}")})
    gateway.admin("/user/new", {"user_id": "ada", "max_budget": budget("user:ada"), "auto_create_key": False})
    keys = [
        gateway.key(team_id=team, tags=tags, user_id=user, max_budget=fit * reserved / 1e9)
        for team, tags, user, fit in KEYS
    ]
    used = dict.fromkeys((*FITS, *(f"key:{number}" for number in range(len(keys)))), 0)
    fits = {**FITS, **{f"key:{number}": fit for number, (*_, fit) in enumerate(KEYS)}}
    async with contextlib.AsyncExitStack() as stack:
        with fake.holding():
            crowds = [
                await stack.enter_async_context(Crowd(urls, key, count // len(keys), limit=LIMIT)) for key in keys
            ]
            await fake.eventually(
                lambda: sum(sum(crowd.finished.values()) for crowd in crowds) + fake.in_flight == count, 100
            )
            held = [nano(gateway.info(key)["reserved"]) // reserved for key in keys]
            for number, admitted in enumerate(held):
                for account in accounts(number):
                    used[account] += admitted
            assert all(used[account] <= fits[account] for account in used), used
            for number in range(len(keys)):  # whatever was refused, one of its accounts was full
                assert any(used[account] == fits[account] for account in accounts(number)), (number, used)
        for crowd in crowds:
            assert set(await crowd.done()) <= {200, 429}
    wait_for(gateway.spend, lambda found: found["running_requests"] == 0, 30)
    for number, key in enumerate(keys):
        found = gateway.info(key)
        assert (nano(found["spend"]), found["reserved"]) == (held[number] * cost, 0)
    lines = [line for line in gateway.admin("/spend/logs", size=1000)["data"] if line["key_id"] != "master"]
    assert len(lines) == sum(held)
    for account, admitted in used.items():
        kind, _, name = account.partition(":")
        if kind in ("team", "user"):
            assert sum(line[f"{kind}_id"] == name for line in lines) == admitted
        elif kind == "tag":
            assert sum(name in line["request_tags"] for line in lines) == admitted
