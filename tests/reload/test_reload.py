"""Reloading on SIGHUP or a file change: the new configuration applies and no request is lost."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.fakes.behaviour import Behaviour
from tests.fakes.server import FakeProvider
from tests.money import deployment
from tests.processes import MASTER_KEY, StartProxy
from tests.reload.conftest import AUTHORIZED, HELLO, ask, events, reload, wait_for_event, write

# Disables the file watch for tests that trigger the reload themselves.
BY_SIGNAL = {"CONFIG_WATCH": "false"}


def config(*deployments: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model_list": list(deployments), "router_settings": {"num_retries": 0}, **more}


def test_sighup_adds_a_new_model_and_removes_an_old_one(proxy: StartProxy, fake: FakeProvider):
    gateway = proxy(config(deployment(fake, "old")), environment=BY_SIGNAL)
    assert ask(gateway, "new").status_code == 404
    said = reload(gateway, config(deployment(fake, "new")))
    assert said["models"] == 1
    assert ask(gateway, "new").status_code == 200
    assert ask(gateway, "old").status_code == 404
    listed = httpx.get(f"{gateway.url}/v1/models", headers=AUTHORIZED).json()
    assert [model["id"] for model in listed["data"]] == ["new"]


@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "written in place"])
def test_a_changed_file_is_noticed(proxy: StartProxy, fake: FakeProvider, replaced: bool):
    gateway = proxy(config(deployment(fake, "old")))
    if replaced:
        write(gateway, config(deployment(fake, "new")))
    else:
        gateway.config_path.write_text(gateway.config_path.read_text().replace("model_name: old", "model_name: new"))
    wait_for_event(gateway, "config_reloaded")
    assert ask(gateway, "new").status_code == 200


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("model_list: [", "not valid YAML"),
        (
            "litellm_settings: {max_budget: many}\nmodel_list: [{model_name: a, litellm_params: {model: openai/x}}]",
            "max_budget",
        ),
    ],
)
def test_a_broken_file_is_refused_with_reasons_and_the_old_config_stays(
    proxy: StartProxy, fake: FakeProvider, broken: str, reason: str
):
    gateway = proxy(config(deployment(fake, "gpt")), environment=BY_SIGNAL)
    said = reload(gateway, broken, "config_refused")
    assert said["level"] == "error"
    assert any(reason in line for line in said["reasons"]), said
    assert ask(gateway, "gpt").status_code == 200
    reload(gateway, config(deployment(fake, "mended")))
    assert ask(gateway, "mended").status_code == 200


@pytest.mark.parametrize(
    "fault", [{"model": "nonesuch/gpt"}, {"api_base": "127.0.0.1"}, {"timeout": "soon"}], ids=lambda f: next(iter(f))
)
def test_a_working_model_is_not_lost_to_a_faulty_new_entry(
    proxy: StartProxy, fake: FakeProvider, fault: dict[str, Any]
):
    good, other = deployment(fake, "gpt"), deployment(fake, "other")
    gateway = proxy(config(good), environment=BY_SIGNAL)
    broken = {**good, "litellm_params": {**good["litellm_params"], **fault}}
    said = reload(gateway, config(broken, other), "config_refused")
    assert "'gpt'" in said["reasons"][0]
    assert next(iter(fault)) in said["reasons"][0]
    assert ask(gateway, "gpt").status_code == 200
    assert ask(gateway, "other").status_code == 404, "the whole old config stays"


@pytest.mark.parametrize("broken", ["model_list: []", "nonsense: 1\nmodel_list: []", "model_list: [{model_name: a}]"])
def test_a_file_without_models_is_refused(proxy: StartProxy, fake: FakeProvider, broken: str):
    gateway = proxy(config(deployment(fake, "gpt")), environment=BY_SIGNAL)
    reload(gateway, broken, "config_refused")
    assert ask(gateway, "gpt").status_code == 200


def test_startup_skips_a_faulty_model_and_a_reload_restores_it(proxy: StartProxy, fake: FakeProvider):
    good, other = deployment(fake, "gpt"), deployment(fake, "other")
    broken = {**good, "litellm_params": {**good["litellm_params"], "timeout": "soon"}}
    gateway = proxy(config(broken, other), environment=BY_SIGNAL)
    assert ask(gateway, "gpt").status_code == 404
    reload(gateway, config(broken, other, deployment(fake, "third")))
    assert ask(gateway, "third").status_code == 200
    reload(gateway, config(good, other))
    assert ask(gateway, "gpt").status_code == 200


def test_startup_without_a_usable_model_fails_with_a_reason(proxy: StartProxy, fake: FakeProvider):
    only = deployment(fake, "gpt")
    broken = {**only, "litellm_params": {**only["litellm_params"], "timeout": "soon"}}
    gateway = proxy(config(broken), environment=BY_SIGNAL)
    [said] = events(gateway, "no_models")
    assert said["level"] == "error"
    reload(gateway, config(only))
    assert ask(gateway, "gpt").status_code == 200


def test_an_equivalent_file_changes_nothing(proxy: StartProxy, fake: FakeProvider):
    gateway = proxy(config(deployment(fake, "gpt")), environment=BY_SIGNAL)
    reload(gateway, config(deployment(fake, "gpt")), "config_unchanged")
    assert events(gateway, "config_reloaded") == []


def test_a_missing_file_changes_nothing(proxy: StartProxy, fake: FakeProvider):
    gateway = proxy(config(deployment(fake, "gpt")), environment=BY_SIGNAL)
    gateway.config_path.unlink()
    os.kill(gateway.pid, signal.SIGHUP)
    wait_for_event(gateway, "config_refused")
    assert ask(gateway, "gpt").status_code == 200


def test_a_stream_under_the_old_configuration_finishes(
    proxy: StartProxy, fake: FakeProvider, second_fake: FakeProvider
):
    gateway = proxy(config(deployment(fake, "gpt")), environment=BY_SIGNAL)
    fake.always(Behaviour(text="word " * 20, pace=0.05))
    request = {"model": "gpt", "messages": HELLO, "stream": True}
    with httpx.stream(
        "POST", f"{gateway.url}/v1/chat/completions", json=request, headers=AUTHORIZED, timeout=30
    ) as answer:
        lines = answer.iter_lines()
        next(line for line in lines if "word" in line)
        reload(gateway, config(deployment(second_fake, "gpt")))
        assert ask(gateway, "gpt").status_code == 200
        assert second_fake.requests, "new requests go to the new provider"
        assert "data: [DONE]" in lines


def test_the_cooldown_of_an_unchanged_deployment_is_kept(proxy: StartProxy, fake: FakeProvider):
    first, second = deployment(fake, "gpt", "sick"), deployment(fake, "gpt", "well")
    routing = {"router_settings": {"num_retries": 1, "cooldown_time": 300, "allowed_fails": 0}}
    gateway = proxy(config(first, second, **routing), environment=BY_SIGNAL)
    fake.always("429,retry_after=300", model="sick")
    while not any(seen.model == "sick" for seen in fake.requests):
        assert ask(gateway, "gpt").status_code == 200
    asked = sum(seen.model == "sick" for seen in fake.requests)
    # Even though its position in the file changes.
    reload(gateway, config(deployment(fake, "other"), second, first, **routing))
    for _ in range(20):
        assert ask(gateway, "gpt").status_code == 200
    assert sum(seen.model == "sick" for seen in fake.requests) == asked


def test_a_deployment_with_a_new_key_loses_its_cooldown(proxy: StartProxy, fake: FakeProvider):
    wrong = deployment(fake, "gpt")
    routing = {"router_settings": {"num_retries": 0, "cooldown_time": 300}}
    gateway = proxy(config(wrong, **routing), environment=BY_SIGNAL)
    fake.queue("401")
    assert ask(gateway, "gpt").status_code == 502
    right = {**wrong, "litellm_params": {**wrong["litellm_params"], "api_key": "sk-provider-rotated"}}
    reload(gateway, config(right, **routing))
    assert ask(gateway, "gpt").status_code == 200
    assert fake.last.api_key == "sk-provider-rotated"


def test_keys_budgets_and_spend_are_kept_under_new_prices(proxy: StartProxy, fake: FakeProvider):
    cheap = deployment(fake, "gpt", input_cost_per_token=0.000001, output_cost_per_token=0.000001)
    gateway = proxy(config(cheap), environment=BY_SIGNAL)
    made = httpx.post(f"{gateway.url}/key/generate", json={"key_alias": "bot", "max_budget": 1}, headers=AUTHORIZED)
    key = made.json()["key"]

    def spent() -> float:
        found = httpx.get(f"{gateway.url}/key/info", params={"key": key}, headers=AUTHORIZED).json()
        return found["info"]["spend"]

    assert ask(gateway, "gpt", key).status_code == 200
    first = spent()
    dear = deployment(fake, "gpt", input_cost_per_token=0.00001, output_cost_per_token=0.00001)
    reload(gateway, config(dear, litellm_settings={"max_budget": 1.0, "budget_duration": "1d"}))
    assert ask(gateway, "gpt", key).status_code == 200
    assert spent() == pytest.approx(11 * first)
    everyone = httpx.get(f"{gateway.url}/global/spend", headers=AUTHORIZED).json()
    assert everyone["max_budget"] == 1.0
    reload(gateway, config(dear, litellm_settings={"max_budget": spent()}))
    assert ask(gateway, "gpt", key).json()["error"]["code"] == "budget_exceeded"


def test_a_request_is_settled_at_the_prices_it_was_admitted_with(proxy: StartProxy, fake: FakeProvider):
    gateway = proxy(config(deployment(fake, "gpt")), environment=BY_SIGNAL)
    fake.queue(Behaviour(pace=0.2, text="a b c d e f g h"))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, gateway, "gpt", MASTER_KEY, stream=True)
        fake.wait_for(lambda: fake.requests)
        reload(gateway, config(deployment(fake, "other")))  # the model is gone, the response is not
        assert "[DONE]" in running.result(30).text
    (line,) = httpx.get(f"{gateway.url}/spend/logs", headers=AUTHORIZED).json()["data"]
    assert (line["model"], line["status"]) == ("gpt", 200)
    assert line["spend"] > 0


def test_a_budget_added_by_a_reload_is_enforced(proxy: StartProxy, fake: FakeProvider):
    gateway = proxy(config(deployment(fake, "gpt")), environment=BY_SIGNAL)
    assert httpx.get(f"{gateway.url}/global/spend", headers=AUTHORIZED).json()["max_budget"] is None
    assert ask(gateway, "gpt").status_code == 200
    reload(gateway, config(deployment(fake, "gpt"), litellm_settings={"max_budget": 0}))
    assert ask(gateway, "gpt").json()["error"]["code"] == "budget_exceeded"


def test_declared_keys_are_added_and_blocked_by_a_reload(proxy: StartProxy, fake: FakeProvider):
    def with_key(alias: str, key: str) -> dict[str, Any]:
        declared = [{"key_alias": alias, "key": f"os.environ/{key}"}]
        return config(deployment(fake, "gpt"), general_settings={"virtual_keys": declared})

    keys = {"FIRST_KEY": "sk-first-key-of-the-file", "SECOND_KEY": "sk-second-key-of-the-file"}
    gateway = proxy(with_key("first", "FIRST_KEY"), environment={**BY_SIGNAL, **keys})
    assert ask(gateway, "gpt", keys["FIRST_KEY"]).status_code == 200
    reload(gateway, with_key("second", "SECOND_KEY"))
    assert ask(gateway, "gpt", keys["SECOND_KEY"]).status_code == 200
    assert ask(gateway, "gpt", keys["FIRST_KEY"]).status_code == 401


def test_a_new_master_key_in_the_file_applies_at_once(proxy: StartProxy, fake: FakeProvider):
    def with_key(key: str) -> dict[str, Any]:
        return config(deployment(fake, "gpt"), general_settings={"master_key": key})

    gateway = proxy(with_key("sk-first-master"), master_key=None, environment=BY_SIGNAL)
    assert ask(gateway, "gpt", "sk-first-master").status_code == 200
    reload(gateway, with_key("sk-second-master"))
    assert ask(gateway, "gpt", "sk-first-master").status_code == 401
    assert ask(gateway, "gpt", "sk-second-master").status_code == 200


def test_a_configuration_open_to_anyone_is_refused(proxy: StartProxy, fake: FakeProvider):
    with_key = config(deployment(fake, "gpt"), general_settings={"master_key": "sk-first-master"})
    gateway = proxy(
        with_key, master_key=None, environment={**BY_SIGNAL, "LITELLM_HOST": "0.0.0.0"}, address_in="environment"
    )
    said = reload(gateway, config(deployment(fake, "gpt")), "config_refused")
    assert "LITELLM_MASTER_KEY" in said["reasons"][0]
    assert ask(gateway, "gpt", "sk-first-master").status_code == 200


def test_behind_the_edge_there_is_no_reload(proxy: StartProxy, fake: FakeProvider):
    gateway = proxy(config(deployment(fake, "gpt")), environment={"INTERNAL_TOKEN": "of-the-edge"})
    reload(gateway, config(deployment(fake, "new")), "config_not_reloaded")
    assert events(gateway, "config_reloaded") == []


def test_under_load_no_request_is_lost_during_reloads_and_key_rotations(proxy: StartProxy, fake: FakeProvider):
    """Eight clients send plain and streamed requests during ten reloads, half of them refused, and five key
    rotations.
    """
    gateway = proxy(config(deployment(fake, "gpt")), environment=BY_SIGNAL)
    fake.always(Behaviour(text="Hello there", pace=0.005))
    headers = dict(AUTHORIZED)
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=30) as admin:
        key = admin.post("/key/generate", json={}).json()["key"]
        keys = [key]
        over = threading.Event()

        def client(number: int) -> list[int]:
            found = []
            with httpx.Client(base_url=gateway.url, timeout=30) as http:
                while not over.is_set():
                    answer = http.post(
                        "/v1/chat/completions",
                        json={"model": "gpt", "messages": HELLO, "stream": number % 2 == 0},
                        headers={"authorization": f"Bearer {keys[-1]}"},
                    )
                    whole = "[DONE]" in answer.text if number % 2 == 0 else "usage" in answer.text
                    found.append(answer.status_code if whole else -1)
            return found

        with ThreadPoolExecutor(8) as pool:
            clients = [pool.submit(client, number) for number in range(8)]
            try:
                for turn in range(10):
                    if turn % 2:
                        reload(gateway, "model_list: [", "config_refused")
                        made = admin.post(f"/key/{keys[-1]}/regenerate", json={"grace_period": "1h"})
                        keys.append(made.json()["key"])
                    else:
                        reload(gateway, config(deployment(fake, "gpt"), deployment(fake, f"more-{turn}")))
            finally:
                over.set()
            statuses = [status for one in clients for status in one.result(60)]
        assert set(statuses) == {200}
        assert len(statuses) > 50
        deadline = time.monotonic() + 10
        while (spent := admin.get("/global/spend").json())["running_requests"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert spent["reserved"] == 0
        lines = admin.get("/spend/logs", params={"size": 1000}).json()["data"]
        assert len(lines) == min(1000, len(statuses))
