"""Fake LLM providers on loopback: real HTTP, deterministic responses, and every way to misbehave.

    with FakeProvider() as fake:
        fake.queue(failing(429, retry_after=7), OK)          # the first request fails, the second does not
        fake.always(Behaviour(Fault.HANG_MID_STREAM), model="slow")
        client = openai.OpenAI(base_url=fake.openai_base, api_key="sk-fake")
        ...
        assert fake.last.body["model"] == "gpt-4o"

On the command line: `python -m tests.fakes --port 9000 --chunks 50 --behave "429,retry_after=2"`.
"""

from .answers import count_tokens, embedding, pieces
from .behaviour import OK, Behaviour, Fault, failing, parse
from .formats.azure import DEPLOYED_MODEL
from .formats.openai import SNAPSHOT
from .record import Recorded
from .server import FakeProvider, refusing_port

__all__ = [
    "DEPLOYED_MODEL",
    "OK",
    "SNAPSHOT",
    "Behaviour",
    "FakeProvider",
    "Fault",
    "Recorded",
    "count_tokens",
    "embedding",
    "failing",
    "parse",
    "pieces",
    "refusing_port",
]
