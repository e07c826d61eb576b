"""An engine that crashes repeatedly: the error says when it restarts, and the fast path is unaffected."""

import os
import signal
import threading
import time
from typing import Any

from tests.engine.test_life import ask, children
from tests.engine.test_reload import translated
from tests.fakes.server import FakeProvider
from tests.processes import StartProxy


def test_crash_loop_is_a_503_with_a_delay_and_does_not_affect_the_fast_path(proxy: StartProxy, fake: FakeProvider):
    direct: dict[str, Any] = {"model": "openai/gpt-4o", "api_base": fake.openai_base, "api_key": "sk-provider"}
    gateway = proxy(
        {
            "model_list": [translated(fake, "slow"), {"model_name": "gpt", "litellm_params": direct}],
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        }
    )
    over = threading.Event()
    ended: list[int] = []

    def end_each() -> None:
        """Kills each engine right after its start."""
        while not over.wait(0.02):
            for pid in children(gateway.pid):
                if pid not in ended:
                    os.kill(pid, signal.SIGKILL)
                    ended.append(pid)

    killer = threading.Thread(target=end_each)
    killer.start()
    try:
        deadline = time.monotonic() + 60
        while "starts again in" not in (answer := ask(gateway, "slow")).text:
            assert answer.status_code == 503, answer.text
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["type"] == "service_unavailable"
        assert "The translation engine ended with exit code" in answer.json()["error"]["message"]
        for _ in range(20):
            assert ask(gateway, "gpt").status_code == 200
    finally:
        over.set()
        killer.join()
    assert len(ended) >= 2
    while (answer := ask(gateway, "slow")).status_code != 200:
        assert answer.status_code == 503, answer.text
        assert time.monotonic() < deadline + 60
        time.sleep(0.5)
