"""The clients of `tests.edge.figures`."""

from typing import Any

import pytest

from tests.edge.load import Job, Load
from tests.fakes.server import FakeProvider


def job(fake: FakeProvider, *, status: int = 200, end: str = "}", stream: bool = False) -> Job:
    body = {"model": "any", "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
    return Job(f"{fake.openai_base}/chat/completions", "key", body, status, end, clients=2, warm_up=4, requests=5)


def test_a_round_sends_its_requests_and_returns_a_latency_for_each() -> None:
    with FakeProvider() as fake, Load(job(fake, end="data: [DONE]", stream=True)) as load:
        for sent in (4 + 5, 4 + 5 + 5):
            latencies, seconds = load.run()
            assert len(fake.requests) == sent
            assert len(latencies) == 5
            assert sorted(latencies) == latencies
            assert latencies[-1] / 1000 <= seconds


@pytest.mark.parametrize("unexpected", [{"status": 201}, {"end": "data: [DONE]"}])
def test_an_unexpected_response_is_an_error(unexpected: dict[str, Any]) -> None:
    with FakeProvider() as fake, pytest.raises(RuntimeError, match="status 200"), Load(job(fake, **unexpected)):
        pass
