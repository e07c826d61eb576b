"""End users named by requests: each has the configuration's budget, through every API."""

from typing import Any

import pytest

from tests.accounting.conftest import Start
from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import IN, OUT

COST = 20 * IN + 10 * OUT
MESSAGES = {"path": "/v1/messages", "max_tokens": 10}


@pytest.mark.parametrize(
    ("said", "headers"),
    [
        ({"user": "ada"}, {}),
        ({"metadata": {"user_id": "ada"}, **MESSAGES}, {}),
        ({"safety_identifier": "ada", "path": "/v1/responses", "input": "Hi", "max_output_tokens": 16}, {}),
        ({"user": "bob"}, {"x-litellm-end-user-id": "ada"}),
        (MESSAGES, {"X-LiteLLM-Customer-Id": "ada"}),
        ({"user": "bob"}, {"X-OpenWebUI-User-Id": "ada"}),
    ],
)
def test_an_end_users_budget_holds(
    start: Start, fake: FakeProvider, said: dict[str, Any], headers: dict[str, str]
) -> None:
    fake.always(Behaviour(usage=(20, 10)))
    mapping = [{"header_name": "X-OpenWebUI-User-Id", "litellm_user_role": "customer"}]
    gateway = start(general={"user_header_mappings": mapping}, max_end_user_budget=COST * 1.5)
    key = gateway.key()
    body = {"max_tokens": 10, **said}
    assert gateway.ask(key, headers=headers, **body).status_code == 200
    gateway.settled()
    (line,) = gateway.logs()
    assert (line["end_user"], line["spend"]) == ("ada", pytest.approx(COST))
    refused = gateway.ask(key, headers=headers, **body)
    assert refused.status_code == 429
    assert "ada" in refused.text
    assert gateway.ask(key, max_tokens=10, user="eve").status_code == 200
    assert gateway.ask(key, max_tokens=10).status_code == 200


def test_an_engine_form_names_its_end_user(start: Start) -> None:
    gateway = start(max_end_user_budget=0)
    form = {"model": (None, "gpt"), "user": (None, "ada"), "file": ("a.wav", b"RIFF")}
    answer = gateway.http.post(
        "/v1/audio/transcriptions", files=form, headers={"authorization": f"Bearer {gateway.key()}"}
    )
    assert answer.status_code in (400, 429), answer.text
    assert "price" in answer.text or "ada" in answer.text


def test_lines_and_activity_by_end_user_and_tag(start: Start) -> None:
    gateway = start()
    key = gateway.key(user_id="ada", tags=["team:a"])
    for end_user, tags in (("7", "job"), ("7", ""), ("8", "job")):
        headers = {"x-litellm-tags": tags} if tags else {}
        assert gateway.ask(key, headers=headers, user=end_user).status_code == 200
    gateway.settled()
    assert len(gateway.admin("/spend/logs", end_user="7")["data"]) == 2
    assert len(gateway.admin("/spend/logs", tag="job", user_id="ada")["data"]) == 2
    assert gateway.admin("/spend/logs", team_id="none")["data"] == []
    found = gateway.admin("/spend/activity", group_by="tag")["groups"]
    assert [(group["group"], group["requests"]) for group in found] == [("team:a", 3), ("job", 2)]
    found = gateway.admin("/spend/activity", group_by="end_user", tag="job")["groups"]
    assert sorted((group["group"], group["requests"]) for group in found) == [("7", 1), ("8", 1)]
