"""The commands `litellm-router keys`, `spend` and `status`: output, effect and exit code."""

import asyncio
import io
import json
import socket
import threading
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from container.cli.admin import cell, pairs, table, usd
from container.cli.main import main
from tests.admin.conftest import MASTER, Gateway


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Awaitable[Done]]


@pytest.fixture
def run(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`await run("keys", "list")` against the gateway, with the master key in the environment."""
    monkeypatch.setenv("LITELLM_ROUTER_URL", gateway.url)
    monkeypatch.setenv("LITELLM_MASTER_KEY", MASTER)

    async def command(*arguments: str) -> Done:
        code = await asyncio.to_thread(main, arguments)
        return Done(code, *capsys.readouterr())

    return command


async def well(run: Run, *arguments: str) -> str:
    done = await run(*arguments)
    assert done.code == 0, done
    return done.out


async def as_json(run: Run, *arguments: str) -> Any:
    return json.loads(await well(run, *arguments, "--json"))


async def test_the_lifecycle_of_a_key(gateway: Gateway, run: Run):
    made = await run(
        "keys", "create", "--alias", "bot", "--user", "ada", "--models", "gpt-4o,claude-*", "--max-budget", "2.5",
        "--soft-budget", "2", "--budget-duration", "30d", "--rpm", "60", "--tpm", "1000", "--parallel", "3",
        "--duration", "1d", "--metadata", '{"team": "a"}',
    )  # fmt: skip
    key = made.out.strip()
    assert (made.code, key[:3], "shown this once" in made.err) == (0, "sk-", True)
    shown = await as_json(run, "keys", "show", "bot")
    assert {name: shown[name] for name in ("user_id", "models", "max_budget", "tpm_limit", "metadata")} == {
        "user_id": "ada",
        "models": ["gpt-4o", "claude-*"],
        "max_budget": 2.5,
        "tpm_limit": 1000,
        "metadata": {"team": "a"},
    }
    text = await well(run, "keys", "show", shown["token"])
    assert "max_budget             $2.50" in text
    assert "gpt-4o, claude-*" in text

    changed = await as_json(run, "keys", "update", "bot", "--rpm", "5", "--unset", "tpm_limit", "--unset", "models")
    assert (changed["rpm_limit"], changed["tpm_limit"], changed["models"], changed["max_budget"]) == (5, None, [], 2.5)

    assert await well(run, "keys", "block", "bot") == "bot is blocked.\n"
    assert (await gateway.ledger.admit(key))["status"] == 401
    assert await well(run, "keys", "unblock", key) == "bot may be used again.\n"
    assert (await gateway.ledger.admit(key))["ok"]

    second = (await well(run, "keys", "rotate", "bot", "--grace", "1h")).strip()
    assert (await gateway.ledger.admit(key))["ok"]
    third = (await well(run, "keys", "rotate", second)).strip()
    assert (await gateway.ledger.admit(second))["status"] == 401
    assert (await gateway.ledger.admit(third))["ok"]

    assert await well(run, "keys", "delete", "bot") == "1 key deleted.\n"
    assert (await gateway.ledger.admit(third))["status"] == 401


async def test_keys_are_listed(gateway: Gateway, run: Run):
    assert "keys create" in await well(run, "keys")
    await gateway.post("/key/generate", {"key_alias": "one", "max_budget": 1, "rpm_limit": 60})
    gateway.ledger.now += 1
    await gateway.post("/key/generate", {"key_alias": "second"})
    head, newest, oldest = (await well(run, "keys", "list")).splitlines()
    assert head.split() == "ALIAS KEY SPEND RESERVED BUDGET PERIOD RPM TPM EXPIRES BLOCKED TOKEN".split()
    assert newest.split()[0] == "second"
    assert [oldest.split()[i] for i in (0, 4, 6, 9)] == ["one", "$1.00", "60", "no"]
    assert [key["key_alias"] for key in await as_json(run, "keys", "list")] == ["second", "one"]


async def test_all_pages_are_read(gateway: Gateway, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("container.cli.admin._PAGE", 2)
    for i in range(5):
        await gateway.post("/key/generate", {"key_alias": f"k{i}"})
    assert len(await as_json(run, "keys", "list")) == 5


async def test_a_secret_can_come_from_standard_input(gateway: Gateway, run: Run, monkeypatch: pytest.MonkeyPatch):
    key = (await gateway.post("/key/generate", {"key_alias": "bot"}))["key"]
    monkeypatch.setattr("sys.stdin", io.StringIO(key + "\n"))
    assert await well(run, "keys", "block", "-") == "bot is blocked.\n"


async def test_spend_is_reported(gateway: Gateway, run: Run):
    bot = (await gateway.post("/key/generate", {"key_alias": "bot"}))["key"]
    await gateway.spend(bot, 1_500_000_000)
    gateway.ledger.now += 1000
    await gateway.spend(None, 75, model="claude")

    assert "spent ever  $1.500000075" in await well(run, "spend")
    assert await well(run, "spend") == await well(run, "spend", "total")
    head, line = (await well(run, "spend", "keys")).splitlines()
    assert (head.split()[-1], line.split()[0], line.split()[-1]) == ("EVER", "bot", "$1.50")

    head, newest, oldest = (await well(run, "spend", "logs")).splitlines()
    assert newest.startswith("2026-11-20 12:00:31  master  claude")
    assert "$0.000000075" in newest
    assert oldest.startswith("2026-11-20 12:00:30  bot")

    async def costs(*arguments: str) -> list[float]:
        return [line["spend"] for line in await as_json(run, "spend", "logs", *arguments)]

    assert await costs("--key", "bot") == [1.5]
    assert await costs("--key", "master") == await costs("--model", "claude") == [7.5e-08]
    assert await costs("--to", "2026-11-20T12:00:31Z") == [1.5]
    assert await costs("--from", "2026-11-21") == []
    assert await costs("--limit", "1") == [7.5e-08]


async def test_status_is_reported(gateway: Gateway, run: Run):
    text = await well(run, "status")
    assert f"proxy   {gateway.url} is healthy" in text
    assert "gpt-4o, mock" in text
    assert "budget      -" in text
    assert (await as_json(run, "status"))["spend"]["total_spend"] == 0


async def test_a_refusal_is_printed_and_the_exit_code_is_1(run: Run, monkeypatch: pytest.MonkeyPatch):
    for arguments, words in (
        (("keys", "show", "nobody"), "no key with the alias 'nobody'"),
        (("keys", "show", "sk-nobody"), "does not exist"),
        (("keys", "create", "--budget-duration", "soon"), "'budget_duration'"),
        (("keys", "list", "--url", "here"), "no address"),
        (("spend", "logs", "--from", "soon"), "'from'"),
    ):
        done = await run(*arguments)
        assert (done.code, done.out) == (1, ""), arguments
        assert done.err.startswith("litellm-router: ")
        assert words in done.err
    monkeypatch.setenv("LITELLM_MASTER_KEY", "sk-wrong")
    assert "LITELLM_MASTER_KEY" in (await run("keys")).err
    monkeypatch.setenv("LITELLM_MASTER_KEY", "")
    assert "which is not set" in (await run("keys")).err
    monkeypatch.setenv("LITELLM_MASTER_KEY", "sk-\n")
    assert (await run("keys")).code == 1


async def test_options_may_precede_or_follow_the_action(gateway: Gateway, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LITELLM_ROUTER_URL", "http://127.0.0.1:1")
    for arguments in (("--url", gateway.url, "--json", "list"), ("list", "--json", "--url", gateway.url + "/v1/")):
        assert json.loads(await well(run, "keys", *arguments)) == []


async def test_an_unreachable_gateway_is_reported(run: Run):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        done = await run("status", "--url", f"http://127.0.0.1:{closed.getsockname()[1]}")
    assert (done.code, "Is the proxy running?" in done.err) == (1, True)


async def test_the_master_key_is_not_sent_to_a_redirect(gateway: Gateway, run: Run):
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(307)
            self.send_header("location", f"{gateway.url}/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        done = await run("spend", "--url", f"http://127.0.0.1:{server.server_port}")
        await asyncio.to_thread(thread.join, 10)
    assert asked == ["/global/spend"]
    assert (done.code, "HTTP 307" in done.err) == (1, True)


async def test_an_alias_is_looked_up_by_the_gateway(run: Run, gateway: Gateway):
    await run("keys", "create", "--alias", "wanted")
    asked: list[str] = []

    class Between(BaseHTTPRequestHandler):
        """A proxy that forwards requests and records them."""

        def do_GET(self) -> None:
            asked.append(self.path)
            answer = httpx.get(gateway.url + self.path, headers={"authorization": self.headers["authorization"]})
            self.send_response(answer.status_code)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Between) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        found, missing = (
            await run("keys", "show", "wanted", "--url", url),
            await run("keys", "show", "no", "--url", url),
        )
        await asyncio.to_thread(server.shutdown)
    assert (found.code, missing.code) == (0, 1)
    assert "wanted" in found.out
    first, shown, second = (urlsplit(path) for path in asked)
    assert (first.path, shown.path, second.path) == ("/key/list", "/key/info", "/key/list")
    assert parse_qs(first.query)["key_alias"] == ["wanted"]
    assert parse_qs(second.query)["key_alias"] == ["no"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("keys", "create", "--rpm", "many"), "--rpm"),
        (("keys", "create", "--metadata", "[]"), "a JSON object is wanted"),
        (("keys", "create", "--models", ""), "leave the option out"),
        (("keys", "create", "--models", " , "), "leave the option out"),
        (("keys", "update", "a", "--models", ""), "--unset"),
        (("keys", "create", "--user", ""), "it is empty"),
        (("keys", "create", "--max-budget", "much"), "'much' is not a number"),
        (("keys", "create", "--max-budget", "nan"), "'nan' is not a number"),
        (("keys", "create", "--soft-budget", "inf"), "'inf' is not a number"),
        (("keys", "rotate"), "KEY"),
        (("keys", "rotate", "a", "--grace", ""), "it is empty"),
        (("spend", "logs", "--limit", "0"), "from 1 to"),
        (("spend", "logs", "--key", ""), "it is empty"),
        (("keys", "update", "a"), "say what shall change"),
        (("keys", "update", "a", "--unset", "colour"), "colour"),
        (("keys", "update", "a", "--rpm", "5", "--unset", "rpm_limit"), "rpm_limit is both given and --unset"),
    ],
)
def test_usage_errors_exit_with_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "usage: litellm-router" in said
    assert words in said


def test_no_argument_takes_the_master_key(capsys):
    for command in (("keys", "create"), ("spend", "logs"), ("status",)):
        with pytest.raises(SystemExit) as ended:
            main((*command, "--help"))
        assert ended.value.code == 0
        text = capsys.readouterr().out
        assert "LITELLM_MASTER_KEY" in text
        assert "--master" not in text


def test_tables_are_aligned():
    assert table(("A", "NUMBER"), [("x", 1), ("long", None)]) == "A     NUMBER\nx          1\nlong       -"
    assert table(("A",), []) == "A"
    assert pairs([("a", True), ("long", [])]) == "a     yes\nlong  -"
    assert [usd(v) for v in (0, 1, 0.1, 12.345, 75e-9, None)] == [
        "$0.00", "$1.00", "$0.10", "$12.345", "$0.000000075", None,
    ]  # fmt: skip
    assert cell("a\x1b[31mb\n") == "a?[31mb?"
