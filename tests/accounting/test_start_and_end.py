"""The ledger's location, startup failures, shutdown, and budget alerts."""

import json
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from container.cli.main import main
from container.proxy.startup import ephemeral_mount
from tests.accounting.conftest import Start
from tests.fakes.behaviour import Behaviour, failing
from tests.fakes.server import FakeProvider
from tests.money import IN, deployment, wait_for
from tests.processes import MASTER_KEY

MOCK = {"model_name": "mock", "litellm_params": {"model": "openai/mock", "mock_response": "Hello!"}}

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run(command, litellm_settings, **environment)` returns the exit code and the output."""

    def result(command: str, settings: dict, *models: dict, **environment: str) -> tuple[int, str]:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({"model_list": [*(models or (MOCK,))], "litellm_settings": settings}))
        monkeypatch.setattr("os.environ", {"PATH": "", **environment})
        code = main([command, "--config", str(path)])
        said = capsys.readouterr()
        return code, said.out + said.err

    return result


def test_check_names_models_without_a_price_under_a_budget(run: Run) -> None:
    mystery = {"model_name": "mystery", "litellm_params": {"model": "openai/no-such-model", "api_key": "k"}}
    code, said = run("check", {"max_budget": 1}, MOCK, mystery)
    assert code == 0
    assert "without a price: mystery (refused under a budget; set input_cost_per_token" in said
    assert "without a price" not in run("check", {}, MOCK, mystery)[1]


def test_anonymous_requests_need_a_budget(run: Run) -> None:
    strangers = {"LITELLM_HOST": "0.0.0.0", "ALLOW_ANONYMOUS": "true"}
    assert run("check", {"max_budget": 1}, **strangers)[0] == 0
    code, said = run("check", {}, **strangers)
    assert code == 1
    assert "ALLOW_ANONYMOUS needs a global budget: set litellm_settings.max_budget" in said


def test_a_ledger_location_that_cannot_be_written_fails_the_start(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, said = run("serve", {}, LEDGER_PATH=str(tmp_path / "file" / "ledger.db"), PORT="0")
    assert code == 1
    assert "litellm-router: The ledger cannot be kept in" in said
    assert "Set LEDGER_PATH" in said


def test_a_default_ledger_location_that_cannot_be_written_is_not_used(run: Run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".litellm-router").write_text("in the way")
    code, said = run("check", {})
    assert code == 0
    assert f"warning: The ledger cannot be kept in {tmp_path}/.litellm-router" in said
    assert "There is the master key alone, and nothing is counted" in said
    code, said = run("check", {"max_budget": 1})
    assert code == 1
    assert "error: The ledger cannot be kept in" in said
    code, said = run("serve", {"max_budget": 1}, PORT="0")
    assert code == 1
    assert "litellm-router: The ledger cannot be kept in" in said


def test_without_a_ledger_only_the_master_key_works(start: Start, tmp_path: Path) -> None:
    (tmp_path / "app" / ".litellm-router").mkdir(parents=True)
    (tmp_path / "app" / ".litellm-router" / "ledger.db.lock").mkdir()
    gateway = start(environment={"LEDGER_PATH": ""}, cwd=tmp_path / "app")
    assert gateway.ask().status_code == 200
    assert gateway.ask("sk-virtual-1234567890").status_code == 401
    assert '"event":"no_ledger"' in gateway.proxy.log()
    answer = gateway.http.get("/global/spend", headers={"authorization": f"Bearer {MASTER_KEY}"})
    assert answer.status_code == 404


def test_the_default_ledger_is_in_the_working_directory(start: Start, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    gateway = start(environment={"LEDGER_PATH": ""}, cwd=tmp_path / "app")
    assert gateway.ask(gateway.key()).status_code == 200
    assert (tmp_path / "app" / ".litellm-router" / "ledger.db").exists()


MOUNTS = """\
22 1 0:20 / / rw,relatime - overlay overlay rw,lowerdir=/a
23 22 8:1 / /data rw - ext4 /dev/sda1 rw
24 22 0:30 / /tmp rw - tmpfs tmpfs rw
25 22 8:2 / /with\\040space rw - ext4 /dev/sdb rw
26 23 0:31 / /data/over rw - fuse-overlayfs none rw
"""


@pytest.mark.parametrize(
    ("place", "lost"),
    [
        ("/app/.litellm-router/ledger.db", "when it is replaced"),
        ("/data/ledger.db", None),
        ("/data/deep/er/ledger.db", None),
        ("/database/ledger.db", "when it is replaced"),
        ("/tmp/ledger.db", "when the machine or the container starts anew"),
        ("/with space/ledger.db", None),
        ("/data/over/ledger.db", "when it is replaced"),
    ],
)
def test_an_ephemeral_ledger_location_is_reported(tmp_path: Path, place: str, lost: str | None) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS)
    found = ephemeral_mount(Path(place), tmp_path / "mountinfo")
    assert (found is None) == (lost is None)
    assert lost is None or lost in (found or "")


def test_an_unknown_ledger_location_is_not_reported(tmp_path: Path) -> None:
    assert ephemeral_mount(tmp_path / "ledger.db", tmp_path / "no-such-list") is None


def test_a_ledger_in_memory_has_no_file(start: Start, tmp_path: Path) -> None:
    gateway = start(max_budget=1, environment={"LEDGER_PATH": ":memory:"})
    assert gateway.ask(gateway.key(), max_tokens=5).status_code == 200
    assert len(gateway.logs()) == 1
    assert [path for path in gateway.proxy.directory.rglob("*") if "ledger" in path.name or "memory" in path.name] == []
    assert not Path(":memory:").exists()


def test_sigterm_waits_until_running_requests_are_settled(start: Start, fake: FakeProvider, tmp_path: Path) -> None:
    database = tmp_path / "kept.db"
    gateway = start(environment={"LEDGER_PATH": str(database)})
    fake.always(Behaviour(delay=1.0, usage=(100, 50)))
    answers: queue.Queue[int] = queue.Queue()
    thread = threading.Thread(target=lambda: answers.put(gateway.ask().status_code))
    thread.start()
    fake.wait_for(lambda: fake.requests)
    gateway.proxy.stop()
    thread.join(10)
    assert answers.get_nowait() == 200
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT state, charged FROM ledger_requests").fetchall() == [(2, 200_000)]


def test_old_spend_log_lines_are_deleted(start: Start, tmp_path: Path) -> None:
    place = {"LEDGER_PATH": str(tmp_path / "kept.db")}
    first = start(environment=place)
    assert first.ask().status_code == 200
    first.proxy.stop()
    second = start(environment={**place, "SPEND_LOG_RETENTION_DAYS": "0.0000001"})
    assert wait_for(second.logs, lambda lines: lines == []) == []
    assert second.spend()["total_spend"] > 0


@pytest.fixture
def webhook() -> Iterator[tuple[str, "queue.Queue[dict]"]]:
    """Its URL and the deliveries that it received. The first delivery fails."""
    got: queue.Queue[dict] = queue.Queue()
    statuses = iter([500])

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(next(statuses, 204))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/alerts", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_exhausted_budget_alert_is_repeated_until_delivered(
    start: Start, fake: FakeProvider, webhook: tuple[str, "queue.Queue[dict]"]
) -> None:
    url, got = webhook
    fake.always(Behaviour(usage=(100, 50)))
    gateway = start(max_budget=0.0003, budget_duration="1d", environment={"ALERT_WEBHOOK_URL": url})
    assert gateway.ask(max_tokens=50).status_code == 200
    assert gateway.ask(max_tokens=100).status_code == 429
    first = got.get(timeout=10)
    again = got.get(timeout=20)
    assert first == again
    assert (first["kind"], first["name"], first["budget"]) == ("budget_exhausted", "global", 0.0003)
    assert "Hi" not in json.dumps(first)


def test_parameters_added_by_the_config_are_reserved(start: Start, fake: FakeProvider) -> None:
    preset = deployment(fake, "gpt")
    preset["litellm_params"] |= {"n": 3, "max_tokens": 1000}
    gateway = start(models=[preset], max_budget=1)
    assert gateway.ask().status_code == 200
    [line] = gateway.logs()
    assert line["reserved"] >= 3 * 1000 * 2 * IN
    assert fake.last.body["max_tokens"] == 1000


def test_the_larger_of_two_limits_is_reserved(start: Start) -> None:
    gateway = start(max_budget=1)
    assert gateway.ask(max_tokens=1000, max_completion_tokens=1).status_code == 200
    [line] = gateway.logs()
    assert line["reserved"] >= 1000 * 2 * IN


def test_a_wildcard_model_has_litellms_prices(start: Start, fake: FakeProvider) -> None:
    wild = {**deployment(fake, "any/*", "*"), "model_info": {}}
    gateway = start(models=[wild], max_budget=1)
    assert gateway.ask(model="any/gpt-4o-mini", max_tokens=10).status_code == 200
    assert gateway.logs()[0]["spend"] > 0
    assert gateway.ask(model="any/no-such-model", max_tokens=10).status_code == 400


def test_slack_is_told_of_a_budget_and_of_a_refused_key(
    start: Start, fake: FakeProvider, webhook: tuple[str, "queue.Queue[dict]"]
) -> None:
    """Both receivers get each alert once, and the one that failed the first time gets it again alone."""
    url, got = webhook
    fake.always(Behaviour(usage=(100, 50)))
    fake.queue(failing(401))
    gateway = start(
        max_budget=0.0003,
        budget_duration="1d",
        general={"alerting": ["slack"]},
        environment={"SLACK_WEBHOOK_URL": f"{url}/s3cret-of-slack", "ALERT_WEBHOOK_URL": url},
    )
    assert gateway.ask(max_tokens=50).status_code == 502
    assert gateway.ask(max_tokens=50).status_code == 200
    assert gateway.ask(max_tokens=100).status_code == 429
    told = [got.get(timeout=20) for _ in range(5)]
    texts = sorted(one["text"] for one in told if "text" in one)
    assert len(texts) == 2
    assert "The budget of everyone, $0.0003, is used up" in texts[0]
    assert "The provider refuses our key: deployment" in texts[1]
    assert sorted(one["kind"] for one in told if "kind" in one)[::2] == ["budget_exhausted", "provider_key_refused"]
    assert "s3cret" not in gateway.proxy.log()
