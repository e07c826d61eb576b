"""The page's files: headers, security policy, and vendored files that match their packages."""

import re

import httpx
import pytest

from tests.fakes.server import FakeProvider
from tests.processes import ROOT, RunningProxy, StartProxy
from worker import dashboard

FOLDER = ROOT / "worker" / "dashboard" / "page"
VENDORED = {"uplot.js": "dist/uPlot.iife.min.js", "uplot.css": "dist/uPlot.min.css", "uplot.LICENSE": "LICENSE"}
OURS = [name for name in dashboard.TYPES if name not in VENDORED]


@pytest.fixture(scope="module")
def proxy(module_proxy: StartProxy) -> RunningProxy:
    model = {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hello"}}
    return module_proxy({"model_list": [model]})


def test_every_file_of_the_folder_is_served_and_no_other():
    assert {path.name for path in FOLDER.iterdir()} == dashboard.TYPES.keys()


@pytest.mark.parametrize(("name", "source"), VENDORED.items())
def test_vendored_files_match_their_packages(name: str, source: str):
    assert (FOLDER / name).read_bytes() == (ROOT / "node_modules" / "uplot" / source).read_bytes()


def test_the_page_without_its_chart_library_is_small():
    assert sum((FOLDER / name).stat().st_size for name in OURS) < 112 * 1024


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize("name", ["", *dashboard.TYPES])
def test_each_file_is_served_without_a_key(proxy: RunningProxy, name: str, prefix: str):
    url = f"{proxy.url}{prefix}/dashboard" + (f"/{name}" if name else "")
    answer = httpx.get(url)
    assert (answer.status_code, answer.content) == (200, (FOLDER / (name or "index.html")).read_bytes())
    assert answer.headers["content-type"] == dashboard.TYPES[name or "index.html"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"
    again = httpx.get(url, headers={"if-none-match": f'"other", W/{answer.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    head = httpx.head(url)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", answer.headers["etag"])


def test_the_policy_allows_nothing_inline_or_from_other_origins(proxy: RunningProxy):
    header = httpx.get(f"{proxy.url}/dashboard").headers["content-security-policy"]
    policy = dict(part.strip().split(" ", 1) for part in header.split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in header


def test_the_files_comply_with_the_policy_and_build_no_markup_from_text():
    for name in OURS:
        text = (FOLDER / name).read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|localStorage", text), (
            name
        )
        assert not re.search(r"sessionStorage|document\.cookie|indexedDB|https?://(?!www\.w3\.org/2000/svg)", text), (
            name
        )
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)


@pytest.mark.parametrize("name", ["nothing.js", "style.css.map", "INDEX.html"])
def test_a_missing_file_is_404(proxy: RunningProxy, name: str):
    answer = httpx.get(f"{proxy.url}/dashboard/{name}")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")


def test_model_info_names_the_missing_variable_and_no_secret(module_proxy: StartProxy, fake: FakeProvider):
    params = {"model": "openai/gpt-4o", "api_base": fake.openai_base}
    proxy = module_proxy(
        {
            "model_list": [
                {"model_name": "on", "litellm_params": {**params, "api_key": "os.environ/OPENAI_API_KEY"}},
                {"model_name": "off", "litellm_params": {**params, "api_key": "os.environ/OTHER_KEY"}},
            ],
            "router_settings": {"num_retries": 0, "allowed_fails": 0, "cooldown_time": 30},
        },
        environment={"OPENAI_API_KEY": "sk-provider-secret"},
    )
    client = proxy.client()
    ask = {"model": "on", "messages": [{"role": "user", "content": "Hi"}]}
    client.chat.completions.create(**ask)
    headers = {"authorization": f"Bearer {proxy.master_key}"}
    answer = httpx.get(f"{proxy.url}/model/info", headers=headers)
    assert "sk-provider-secret" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    found = {one["model_name"]: one for one in answer.json()["data"]}
    assert (found["off"]["on"], found["off"]["set"], found["off"]["health"]) == (False, ["OTHER_KEY"], None)
    assert (found["on"]["on"], found["on"]["set"], found["on"]["health"]["state"]) == (True, [], "healthy")
    assert found["on"]["health"]["requests_this_minute"] <= 1
    assert found["on"]["health"]["seconds_per_token"] > 0
