"""The same page at the Worker: its files, and the admin endpoints that the edge adds for it."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.async_api import expect

from tests.dashboard.conftest import Visit, go, settled
from tests.dashboard.test_files import FOLDER
from tests.edge.conftest import Edge, StartEdge, start_module_edge, wait_for
from tests.fakes.behaviour import failing
from tests.fakes.server import FakeProvider
from worker import dashboard

__all__ = ["start_module_edge"]
in_the_browser = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as one:
        yield one


@pytest.fixture(scope="module")
def edge(start_module_edge: StartEdge, provider: FakeProvider) -> Edge:
    def model(name: str, key: str) -> dict:
        params = {"model": f"openai/{name}", "api_key": f"os.environ/{key}", "api_base": provider.openai_base}
        prices = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.001}
        return {"model_name": name, "litellm_params": params, "model_info": prices}

    return start_module_edge(
        {"model_list": [model("gpt-4o", "OPENAI_API_KEY"), model("gemini-flash", "GEMINI_API_KEY")]},
        vars={"OPENAI_API_KEY": "sk-openai-of-the-tests"},
    )


@pytest.fixture
def asleep(edge: Edge) -> Edge:
    assert edge.containers() == []
    return edge


@pytest.mark.parametrize("name", ["", *dashboard.TYPES])
def test_each_file_is_served(edge: Edge, name: str):
    url = f"{edge.url}/dashboard" + (f"/{name}" if name else "")
    answer = httpx.get(url)
    assert (answer.status_code, answer.content) == (200, (FOLDER / (name or "index.html")).read_bytes())
    assert answer.headers["content-type"] == dashboard.TYPES[name or "index.html"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = httpx.get(url, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = httpx.head(url)
    assert (head.status_code, head.content) == (200, b"")


def test_a_missing_file_is_404(edge: Edge):
    assert httpx.get(f"{edge.url}/dashboard/nothing.js").status_code == 404


@in_the_browser
async def test_a_sleeping_container_is_not_woken(visit: Visit, asleep: Edge):
    page = await visit(asleep.url)
    models = page.get_by_role("region", name="Models")
    await expect(models).to_contain_text("1 of 2 on. The container sleeps")
    await expect(models.get_by_role("row", name="gemini-flash")).to_contain_text("Set GEMINI_API_KEY")
    info = asleep.client.get("/v1/model/info").json()
    assert (info["container"], [one["health"] for one in info["data"]]) == ("sleeping", [None, None])
    assert asleep.containers() == []


def test_the_admin_api_needs_the_master_key(edge: Edge):
    made = edge.client.post("/key/generate", json={"key_alias": "nobody"}).json()
    for path in ("/key/list", "/spend/activity"):
        assert httpx.get(edge.url + path).status_code == 401
        assert httpx.get(edge.url + path, headers={"authorization": f"Bearer {made['key']}"}).status_code == 403


@in_the_browser
async def test_a_containers_history_is_shown(visit: Visit, edge: Edge, provider: FakeProvider):
    ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    assert edge.client.post("/v1/chat/completions", json=ask).status_code == 200
    wait_for(lambda: edge.client.get("/spend/logs").json()["data"], "the request in the ledger")
    page = await visit(edge.url)
    await expect(page.locator("#requests-today")).to_have_text("1")
    await expect(page.locator("#requests-legend")).to_contain_text("gpt-4o")
    await expect(page.locator("#models-rows tr").first).to_contain_text("Healthy")
    await go(page, "Requests")
    await expect(page.locator("#requests-rows tr")).to_have_count(1)
    await go(page, "Keys")
    await page.get_by_role("button", name="Create a key").click()
    await page.get_by_label("Name", exact=True).fill("edge-key")
    await page.get_by_role("button", name="Create", exact=True).click()
    await page.get_by_role("button", name="Done").click()
    await settled(page)
    await expect(page.get_by_role("rowheader", name="edge-key")).to_be_visible()
    await go(page, "Try it")
    provider.queue(failing(429, message="Slow down"))
    form = page.locator("#try-form")
    await form.get_by_label("Model").fill("gpt-4o")
    await form.get_by_label("Prompt").fill("Hello?")
    await form.get_by_role("button", name="Send").click()
    await expect(page.locator("#try-state")).to_contain_text("Answered in", timeout=20_000)
    attempts = page.get_by_role("table", name="Attempts")
    await expect(attempts.get_by_role("row")).to_have_count(3, timeout=20_000)
    await expect(attempts).to_contain_text("rate limit")
    info = edge.client.get("/model/info").json()
    assert (info["container"], info["data"][0]["health"]["state"]) == ("running", "healthy")
    assert "sk-openai-of-the-tests" not in str(info)
    head = edge.client.head("/model/info")
    assert (head.status_code, head.content) == (200, b"")
