"""Tags of keys and requests in the spend log."""

from tests.accounting.conftest import Start
from tests.fakes.server import FakeProvider


def test_tags_are_recorded_for_every_api(start: Start, fake: FakeProvider) -> None:
    gateway = start()
    tagged, plain = gateway.key(tags=["team:a"], max_budget=1), gateway.key()
    own = {"tags": ["job:1"], "user_id": "ada"}
    messages = {"max_tokens": 20, "path": "/v1/messages"}
    assert gateway.ask(tagged, metadata=own).status_code == 200
    assert gateway.ask(tagged, **messages, metadata=own).status_code == 200
    assert gateway.ask(plain, **messages, stream=True, metadata=own).status_code == 200
    assert gateway.ask(plain, metadata={"tags": "none of ours"}).status_code == 200
    assert gateway.ask(tagged).status_code == 200
    assert gateway.ask(metadata=own).status_code == 200
    gateway.settled()
    assert [line["request_tags"] for line in reversed(gateway.logs())] == [
        ["team:a", "job:1"],
        ["team:a", "job:1"],
        ["job:1"],
        [],
        ["team:a"],
        ["job:1"],
    ]
