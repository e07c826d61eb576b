"""Access tokens are fetched once, shared, and renewed before they expire; failures are reported."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from container.formats import vertex
from container.formats.shared.wire import Unreachable
from container.formats.vertex import Tokens
from tests.fakes.environment import service_account
from tests.fakes.server import FakeProvider, refusing_port
from tests.gemini.token_endpoint import TokenEndpoint


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with TokenEndpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def account() -> dict[str, str]:
    return json.loads(service_account(FakeProvider()))


@pytest.fixture
def key(account: dict[str, str], endpoint: TokenEndpoint) -> str:
    return json.dumps({**account, "token_uri": endpoint.url})


async def test_one_token_serves_concurrent_and_later_requests(endpoint: TokenEndpoint, key: str):
    shared = Tokens()
    found = await asyncio.gather(*(shared.get(key) for _ in range(50)))
    found.append(await shared.get(key))
    assert {token.value for token in found} == {"token-1"}
    assert {token.project for token in found} == {"fake-project"}
    assert endpoint.asked == 1


async def test_key_in_a_file(endpoint: TokenEndpoint, key: str, tmp_path: Path):
    file = tmp_path / "key.json"
    file.write_text(key)
    assert (await Tokens().get(str(file))).value == "token-1"


async def test_expiring_token_is_used_while_the_next_is_fetched(endpoint: TokenEndpoint, key: str):
    shared = Tokens()
    endpoint.expires_in = int(vertex.AHEAD_SECONDS) - 60
    await shared.get(key)
    endpoint.came.clear()
    endpoint.gate.clear()
    assert (await shared.get(key)).value == "token-1", "nobody waits"
    assert await asyncio.to_thread(endpoint.came.wait, 10)
    assert (await shared.get(key)).value == "token-1"
    endpoint.expires_in = 3600
    endpoint.gate.set()
    for _ in range(1000):
        if (await shared.get(key)).value == "token-2":
            break
        await asyncio.sleep(0.01)
    assert (await shared.get(key)).value == "token-2"
    assert endpoint.asked == 2


async def test_failed_renewal_keeps_a_valid_token(endpoint: TokenEndpoint, key: str):
    shared = Tokens()
    endpoint.expires_in = int(vertex.AHEAD_SECONDS) - 60
    await shared.get(key)
    endpoint.refuse = (400, {"error": "invalid_grant"})
    endpoint.came.clear()
    await shared.get(key)
    assert await asyncio.to_thread(endpoint.came.wait, 10)
    for _ in range(20):
        assert (await shared.get(key)).value == "token-1"
        await asyncio.sleep(0.01)
    assert endpoint.asked == 2, "after a failure it pauses"


async def test_requests_wait_for_the_renewal_of_an_expired_token(endpoint: TokenEndpoint, key: str):
    shared = Tokens()
    endpoint.expires_in = int(vertex.MARGIN_SECONDS) - 10
    assert (await shared.get(key)).value == "token-1"
    assert (await shared.get(key)).value == "token-2"


async def test_clock_set_back_does_not_extend_a_token(
    endpoint: TokenEndpoint, key: str, monkeypatch: pytest.MonkeyPatch
):
    shared, passed, jumped = Tokens(), 0.0, 0.0
    clocks = SimpleNamespace(time=lambda: time.time() + passed + jumped, monotonic=lambda: time.monotonic() + passed)
    monkeypatch.setattr(vertex, "time", clocks)
    assert (await shared.get(key)).value == "token-1"
    passed, jumped = float(endpoint.expires_in), -365 * 86_400.0
    assert (await shared.get(key)).value == "token-2"


async def test_first_requester_may_be_cancelled(endpoint: TokenEndpoint, key: str):
    shared = Tokens()
    endpoint.gate.clear()
    first = asyncio.create_task(shared.get(key))
    assert await asyncio.to_thread(endpoint.came.wait, 10)
    second = asyncio.create_task(shared.get(key))
    await asyncio.sleep(0)
    first.cancel()
    endpoint.gate.set()
    assert (await second).value == "token-1"
    assert endpoint.asked == 1


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        ((400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}), "authentication"),
        ((401, {"error": "invalid_client"}), "authentication"),
        ((500, {"error": "internal_failure"}), "server"),
    ],
)
async def test_rejected_token_request(endpoint: TokenEndpoint, key: str, refusal, kind):
    endpoint.refuse = refusal
    shared = Tokens()
    with pytest.raises(Unreachable) as raised:
        await shared.get(key)
    assert raised.value.outcome.kind == kind
    endpoint.refuse = None
    assert (await shared.get(key)).value.startswith("token-"), "the next request tries again"


async def test_unreachable_token_endpoint(account: dict[str, str]):
    with refusing_port() as port, pytest.raises(Unreachable) as raised:
        await Tokens().get(json.dumps({**account, "token_uri": f"http://127.0.0.1:{port}/token"}))
    assert raised.value.outcome.kind == "connection"


@pytest.mark.parametrize(
    "source",
    [
        "/nowhere/key.json",
        "{",
        "{}",
        '{"type": "service_account"}',
        '{"type": "service_account", "private_key": "x", "client_email": "a@b", "token_uri": "http://127.0.0.1:1/"}',
        "[]",
    ],
)
async def test_invalid_credentials(source):
    with pytest.raises(Unreachable) as raised:
        await Tokens().get(source)
    assert raised.value.outcome.kind == "authentication"
    assert source not in raised.value.outcome.message
