"""Requests with the aliases of a team, for both doors: each is answered, recorded and paid for as the model that its
name stands for."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.fakes.behaviour import Behaviour, failing
from tests.fakes.server import FakeProvider
from tests.money import IN, OUT, Money, deployment, wait_for

USAGE = 20, 10
CHEAP = USAGE[0] * IN + USAGE[1] * OUT
ALIASES = {
    "fast": "cheap",
    "dear": "cheap",
    "boss": "dear",
    "gone": "nowhere",
    "again": "fast",
    "wild": "any/one",
    "spare": "spare",
}
MESSAGES = [{"role": "user", "content": "Hi"}]
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 10}}
# The client APIs: path and body, with the model as {model} in the path or in the body.
APIS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 10}),
    "completions": ("/v1/completions", {"prompt": "Hi", "max_tokens": 10}),
    "embeddings": ("/v1/embeddings", {"input": "Hi"}),
    "messages": ("/v1/messages", {"messages": MESSAGES, "max_tokens": 10}),
    "count_tokens": ("/v1/messages/count_tokens", {"messages": MESSAGES}),
    "responses": ("/v1/responses", {"input": "Hi", "max_output_tokens": 16}),
    "gemini": ("/v1beta/models/{model}:generateContent", GEMINI),
    "gemini stream": ("/v1beta/models/{model}:streamGenerateContent?alt=sse", GEMINI),
}


def config(fake: FakeProvider, **settings: Any) -> dict[str, Any]:
    dear = deployment(fake, "dear", input_cost_per_token=100 * IN, output_cost_per_token=100 * OUT)
    wild = deployment(fake, "any/*", "*")
    return {
        "model_list": [deployment(fake, "cheap"), dear, deployment(fake, "spare"), wild],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True, **settings},
    }


def prepared(fake: FakeProvider) -> None:
    fake.reset()
    fake.always(Behaviour(usage=USAGE))


def a_team(money: Money, id: str, **fields: Any) -> str:
    """Makes a team with ALIASES, unless `fields` say otherwise, and returns the secret of its key."""
    money.admin("/team/new", {"team_id": id, "model_aliases": ALIASES, **fields})
    return money.key(team_id=id)


def alias(money: Money, team: str, aliases: dict[str, str] | None) -> None:
    money.admin("/team/update", {"team_id": team, "model_aliases": aliases})


def lines(money: Money, key: str, count: int = 1) -> list[dict[str, Any]]:
    """Waits until these many requests are settled, and returns their lines of the spend log."""
    return wait_for(
        lambda: money.admin("/spend/logs", key=key, size=200)["data"],
        lambda found: len(found) == count and all(one["state"] == "settled" for one in found),
    )


def group(answer: httpx.Response) -> str | None:
    assert answer.status_code == 200, answer.text
    return answer.headers.get("x-litellm-model-group")


def answered_in_every_api(money: Money, fake: FakeProvider) -> None:
    """Twice each: what the edge has not heard of yet is quoted in the container or quoted again."""
    key = a_team(money, "apis")
    for name, (path, body) in APIS.items():
        for named in ("fast", "dear"):
            for _ in range(2):
                fields = body if "{model}" in path else {"model": named, **body}
                answer = money.http.post(
                    path.format(model=named), json=fields, headers={"authorization": f"Bearer {key}"}
                )
                assert group(answer) == "cheap", (name, named)
                assert fake.last.model == "cheap", (name, named)
    assert {line["model"] for line in lines(money, key, 4 * len(APIS))} == {"cheap"}


def streamed_under_its_alias(money: Money, fake: FakeProvider) -> None:
    key = a_team(money, "streams")
    for name in ("fast", "dear"):
        answer = money.ask(key, model=name, stream=True, max_tokens=10)
        assert group(answer) == "cheap"
        assert f'"model":"{name}"' in answer.text.replace('": "', '":"')
        assert money.ask(key, model=name, max_tokens=10).json()["model"] == name
    assert fake.last.model == "cheap"


def forms_are_answered(money: Money, fake: FakeProvider) -> None:
    key = a_team(money, "forms")
    for name in ("fast", "dear"):
        form = {"model": (None, name), "file": ("a.wav", b"RIFF")}
        answer = money.http.post("/v1/audio/transcriptions", files=form, headers={"authorization": f"Bearer {key}"})
        assert b'name="model"\r\n\r\ncheap\r\n' in fake.last.raw, answer.text


def one_hop_only(money: Money) -> None:
    """An alias of an alias is none: the client learns that there is no such model."""
    key = a_team(money, "hops")
    assert group(money.ask(key, model="boss", max_tokens=10)) == "dear"
    for name, missing in (("again", "fast"), ("gone", "nowhere")):
        for _ in range(2):
            refused = money.ask(key, model=name, max_tokens=10)
            assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
            assert missing in refused.json()["error"]["message"]
    assert group(money.ask(key, model="wild", max_tokens=10)) == "any/one"
    for content in ("Hi", "x" * 100_000):  # an alias of itself
        assert group(money.ask(key, model="spare", content=content, max_tokens=10)) == "spare"


def reserved_at_the_models_price(money: Money, fake: FakeProvider) -> None:
    """The team can pay for `cheap` only. Neither alias may reserve, or cost, the other model's price."""
    limit = 1000
    key = a_team(money, "prices", max_budget=limit * OUT * 10)
    for _ in range(2):
        refused = money.ask(key, model="boss", max_tokens=limit)
        assert (refused.status_code, refused.json()["error"]["code"]) in (
            (429, "budget_exceeded"),
            (400, "too_expensive"),
        )
        assert group(money.ask(key, model="dear", max_tokens=limit)) == "cheap"
    assert {(line["model"], round(line["spend"] / CHEAP, 6)) for line in lines(money, key, 2)} == {("cheap", 1.0)}
    assert fake.last.model == "cheap"


def access_is_that_of_the_alias(money: Money) -> None:
    """As in LiteLLM, a team may use its aliases whatever its models are, and its key, too. Their models it may not."""
    money.admin("/team/new", {"team_id": "access", "models": ["spare"], "model_aliases": {"fast": "cheap"}})
    for key in (money.key(team_id="access"), money.key(team_id="access", models=["spare"])):
        assert group(money.ask(key, model="fast")) == "cheap"
        assert group(money.ask(key, model="spare")) == "spare"
        for name in ("cheap", "dear"):
            assert money.ask(key, model=name).status_code == 403
        assert money.ask(key, model="spare", fallbacks=["dear"]).status_code == 403
        assert listed(money, key) == ["spare", "fast"]
    other = money.key()
    assert money.ask(other, model="fast").status_code == 404
    assert money.ask(None, model="fast").status_code == 404


def listed(money: Money, key: str, path: str = "/v1/models") -> list[str]:
    answer = money.http.get(path, headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["data"]]


def aliases_are_listed(money: Money) -> None:
    key = a_team(money, "lists")
    assert set(listed(money, key)) >= {"cheap", "dear", "spare", "fast", "boss", "wild"}
    assert {"gone", "again"}.isdisjoint(listed(money, key))
    headers = {"authorization": f"Bearer {key}"}
    for path, status in (("fast", 200), ("gone", 404), ("again", 404), ("nothing", 404)):
        answer = money.http.get(f"/v1/models/{path}", headers=headers)
        assert (answer.status_code, answer.json().get("id")) == (status, path if status == 200 else None)
    google = money.http.get("/v1beta/models", headers=headers, params={"pageSize": 1000})
    assert "models/fast" in [one["name"] for one in google.json()["models"]]
    assert "fast" not in listed(money, money.key())


def fallbacks_are_resolved(money: Money, fake: FakeProvider) -> None:
    """A fallback that the client names is one of its team's aliases, too, and never the model that the alias hides."""
    key = a_team(money, "fallbacks", models=["spare"])
    for _ in range(2):
        fake.queue(failing(500))
        assert group(money.ask(key, model="spare", fallbacks=["dear"])) == "cheap"
    fake.queue(failing(500))
    assert group(money.ask(key, model="fast", fallbacks=["spare"])) == "spare"
    assert money.ask(key, model="fast", fallbacks=["gone"]).status_code == 404
    assert {line["model"] for line in lines(money, key, 3)} == {"cheap", "spare"}


def a_change_is_in_force_at_once(money: Money) -> None:
    """Whatever a door has heard about the aliases before: names of models, of no models, and both ways."""
    key = a_team(money, "changes", model_aliases=None)
    for name in ("dear", "fast"):
        before = money.ask(key, model=name)
        assert before.headers.get("x-litellm-model-group") == ("dear" if name == "dear" else None)
        for target in ("cheap", "spare", "cheap"):
            alias(money, "changes", {name: target})
            for _ in range(2):
                assert group(money.ask(key, model=name)) == target
        alias(money, "changes", None)
        for _ in range(2):
            after = money.ask(key, model=name)
            assert (after.status_code, after.headers.get("x-litellm-model-group")) == (
                before.status_code, before.headers.get("x-litellm-model-group"),
            )  # fmt: skip


def a_blocked_key_is_refused(money: Money) -> None:
    key = a_team(money, "blocked")
    assert group(money.ask(key, model="dear")) == "cheap"
    money.admin("/key/block", {"key": key})
    assert money.ask(key, model="dear").status_code == 401
    money.admin("/key/unblock", {"key": key})
    money.admin("/team/block", {"team_id": "blocked"})
    assert money.ask(key, model="dear").status_code == 401


def large_bodies_are_answered(money: Money, fake: FakeProvider) -> None:
    key = a_team(money, "large", max_budget=1)
    for name in ("fast", "dear"):
        assert group(money.ask(key, model=name, content="x" * 100_000, max_tokens=10)) == "cheap"
    assert {line["model"] for line in lines(money, key, 2)} == {"cheap"}


def changes_while_many_requests_run(money: Money, fake: FakeProvider) -> None:
    """Each request is answered by one of the models, or refused for a moment, and is paid for as what answered."""
    key = a_team(money, "races", model_aliases={"fast": "cheap", "spare": "cheap"})

    def ask(number: int) -> httpx.Response:
        return money.ask(key, model=("fast", "spare")[number % 2], max_tokens=10)

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, number) for number in range(120)]
        for number in range(12):
            target = ("dear", "cheap")[number % 2]
            alias(money, "races", {"fast": target, "spare": target})
        answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} <= {200, 503}
    groups = [group(answer) for answer in answers if answer.status_code == 200]
    assert set(groups) <= {"cheap", "dear"}
    assert len(groups) > len(answers) // 2
    found = lines(money, key, len(groups))
    assert sorted(str(line["model"]) for line in found) == sorted(str(one) for one in groups)
    for line in found:
        assert line["spend"] == pytest.approx(CHEAP * (100 if line["model"] == "dear" else 1))


CASES: dict[str, Callable[..., None]] = {
    case.__name__: case
    for case in (
        one_hop_only,
        access_is_that_of_the_alias,
        reserved_at_the_models_price,
        a_blocked_key_is_refused,
        a_change_is_in_force_at_once,
        answered_in_every_api,
        streamed_under_its_alias,
        forms_are_answered,
        fallbacks_are_resolved,
        aliases_are_listed,
        large_bodies_are_answered,
        changes_while_many_requests_run,
    )
}


def run(name: str, money: Money, fake: FakeProvider) -> None:
    prepared(fake)
    case = CASES[name]
    case(*((money, fake) if case.__code__.co_argcount == 2 else (money,)))
