"""`/metrics` at the edge returns a running container's metrics and never wakes one."""

import pytest

from tests.edge.conftest import MASTER_KEY, Edge, StartEdge
from tests.metrics.conftest import Scraped

CONFIG = {"model_list": [{"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hello!"}}]}
RUNNING = "litellm_router_container_running"


@pytest.fixture(scope="module")
def watched(start_module_edge: StartEdge) -> Edge:
    return start_module_edge(config=CONFIG, vars={"CONTAINER_INSTANCES": "2"})


def scrape(edge: Edge, **query: str) -> Scraped:
    answer = edge.client.get("/metrics", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return Scraped(answer.text)


def test_sleeping_containers_are_not_woken(watched: Edge):
    for _ in range(2):
        found = scrape(watched)
        assert {s.labels["instance_name"]: s.value for s in found.samples} == {"proxy-0": 0, "proxy-1": 0}
    assert watched.containers() == []


def test_a_running_container_reports_and_a_sleeping_one_is_not_woken(watched: Edge):
    body = {"model": "mock", "messages": [{"role": "user", "content": "Hi"}]}
    assert watched.client.post("/v1/chat/completions", json=body).status_code == 200
    awake = [name for name in ("proxy-0", "proxy-1") if scrape(watched)[RUNNING, f"instance_name={name}"]]
    assert len(awake) == 1
    found = scrape(watched, instance=awake[0])
    assert found["litellm_router_requests_total", "model=mock", "status=2xx"] == 1
    assert found["litellm_router_requests_total", "endpoint=internal"] == 0
    asleep = ({"proxy-0", "proxy-1"} - set(awake)).pop()
    assert "litellm_router_requests" not in scrape(watched, instance=asleep).families
    assert len(watched.containers()) == 1
    assert watched.client.head("/metrics").content == b""


def test_metrics_need_the_master_key(watched: Edge):
    key = watched.client.post("/key/generate", json={}).json()["key"]
    for headers, status in (
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer sk-no"}, 401),
        ({"authorization": f"Bearer {key}"}, 403),
    ):
        answer = watched.client.get("/metrics", headers=headers)
        assert answer.status_code == status
        assert RUNNING not in answer.text
    assert MASTER_KEY not in watched.client.get("/metrics").text


def test_an_unknown_instance_is_refused(watched: Edge):
    answer = watched.client.get("/metrics", params={"instance": "proxy-7"})
    assert answer.status_code == 400
    assert "proxy-0, proxy-1" in answer.json()["error"]["message"]
