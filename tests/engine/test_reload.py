"""Config reloads and the engine: it keeps running unless its own configuration changed."""

import threading
from typing import Any

import httpx

from tests.engine.test_life import ask, children
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.processes import StartProxy
from tests.reload.conftest import AUTHORIZED, HELLO, reload


def translated(fake: FakeProvider, name: str) -> dict[str, Any]:
    """A provider that only the engine supports."""
    params = {"model": f"sambanova/{name}", "api_base": fake.openai_base, "api_key": "sk-translated"}
    return {"model_name": name, "litellm_params": params}


def test_engine_keeps_running_or_is_replaced_without_breaking_streams(proxy: StartProxy, fake: FakeProvider):
    routing = {"num_retries": 0, "cooldown_time": 5}
    gateway = proxy(
        {"model_list": [translated(fake, "first")], "router_settings": routing}, environment={"CONFIG_WATCH": "false"}
    )
    assert ask(gateway, "first").status_code == 200
    (engine,) = children(gateway.pid)

    # None of this concerns the engine.
    reload(gateway, {"model_list": [translated(fake, "first")], "router_settings": {**routing, "cooldown_time": 6}})
    assert children(gateway.pid) == [engine]
    assert ask(gateway, "first").status_code == 200

    # Another model does: the old engine serves until the new one is ready, and its stream continues.
    fake.queue(Behaviour(text="word " * 200, pace=0.1, chunks=1000))
    over = threading.Event()
    lost: list[int] = []

    def keep_asking() -> None:
        while not over.is_set():
            status = ask(gateway, "first").status_code
            if status != 200:
                lost.append(status)

    request = {"model": "first", "messages": HELLO, "stream": True}
    with httpx.stream(
        "POST", f"{gateway.url}/v1/chat/completions", json=request, headers=AUTHORIZED, timeout=60
    ) as answer:
        lines = answer.iter_lines()
        next(line for line in lines if '"content":"w' in line)
        asking = threading.Thread(target=keep_asking)
        asking.start()
        reload(gateway, {"model_list": [translated(fake, "first"), translated(fake, "second")]})
        assert ask(gateway, "second").status_code == 200
        over.set()
        asking.join(30)
        assert len(children(gateway.pid)) == 2, "the old engine has a stream to serve"
        for _ in range(20):
            assert next(line for line in lines if line.startswith("data: "))
    assert lost == []
    fake.wait_for(lambda: engine not in children(gateway.pid), timeout=15)
    assert ask(gateway, "first").status_code == 200
