"""Every block of commands of the pages is run by a test, or stands below with the reason why not; and whatever of ours
is called, in blocks and in the text, is there and knows its options."""

import contextlib
import functools
import importlib.util
import io
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from container.cli.main import _parser
from dev import run as development
from tests.deploy.pages import BLOCK
from tests.docs.test_pages import PAGES
from tests.processes import ROOT

SHELL, CODE, DATA = {"bash", "sh"}, {"python", "javascript"}, {"", "json", "yaml"}
# For each page the test that runs its blocks, and the words by which it finds them; none: it takes all that there are.
CHAT, MODELS = "/v1/chat/completions", "/v1/models"
RUN = {
    "README": ("docs/test_readme.py", "just dev", "just test", "curl http://127.0.0.1", "from openai import OpenAI",
               "litellm-router serve", "keys create"),
    "clients": ("docs/test_clients.py",),
    "deploy-compose": ("deploy/test_compose.py", "cp example.env", MODELS, '"model": "gpt-4"'),
    "deploy-kubernetes": ("deploy/test_kubernetes.py", "cp deploy/kubernetes", "/health/readiness"),
    "deploy-railway-bot": ("deploy/test_railway.py", "/health", "OpenAI(", CHAT, "litellm-router serve", MODELS),
    "deploy-railway-workers": ("deploy/test_railway.py", "/health", MODELS, CHAT, "/global/spend"),
    "deploy-systemd": ("deploy/test_systemd.py", "install -d", "litellm-router check", "set -a", "/health", MODELS,
                       "Say hi"),
    "accounts": ("admin/test_owner_commands.py",),
    "keys": ("admin/test_with_the_proxy.py",),
    "logs": ("docs/test_logs.py", "budget"),
    "migration": ("docs/test_migration.py", "litellm-router check"),
    "quickstart": ("docs/test_quickstart.py", "just setup", "cat >my_config.yaml", "litellm-router serve",
                   "curl --include", "keys create", "spend keys"),
    "sign-in": ("sign_in/test_the_page.py",),
    "traces": ("docs/test_traces.py", "export OTEL_EXPORTER_OTLP_ENDPOINT"),
}  # fmt: skip
NOT_RUN = {
    "CONTRIBUTING": {"just install": "`just test` does the same first"},
    "deploy-cloudflare": {
        "just deploy": "wants an account; tests/deploy/test_deploy.py deploys by a fake wrangler",
        "wrangler secret put": "wants an account; tests/deploy/test_cloudflare_page.py asks wrangler for the command",
        "export URL=": "a person's list for a deployment on Cloudflare",
        "while true": "the load of that list",
    },
    "deploy-compose": {"--profile full": "wants images of PostgreSQL and Redis; tests/image/test_compose.py has none"},
    "deploy-kubernetes": {
        "apply -f": "wants a cluster; tests/deploy/test_kubernetes.py checks the files and names in it",
        "port-forward": "wants a cluster",
    },
    "deploy-systemd": {"systemctl": "wants root and a running systemd", "sudo cp": "wants root"},
    "image": {"docker build": "tests/image does it under other names", "--env-file": "wants files of the reader's"},
    "jwt": {"export JWT_PUBLIC_KEY_URL": "names a provider of the reader's; tests/identity sets these variables"},
    "performance": {"just bench": "takes from minutes to hours; tests/bench makes a short run"},
}
_CALL = re.compile(
    r"(?:[A-Z_]+=(?:\$\(|\S+ ))*(?:uvx --from rust-just )?(?:\.venv/bin/)?((?:litellm-router|just|python) .*)"
)
_IMAGE = re.compile(r"docker run .* litellm-router( .*)")


def calls(text: str) -> Iterator[list[str]]:
    """The words of each call of what is ours, in blocks and between backticks."""
    code = [block for language, block in BLOCK.findall(text) if language in SHELL]
    code += [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", BLOCK.sub("", text))]
    for part in re.split(r"&&|;|\||\n", "\n".join(code).replace("\\\n", " ")):
        if found := _CALL.fullmatch(part.strip()):
            yield shlex.split(found[1].removesuffix(")"), comments=True)
        elif found := _IMAGE.fullmatch(part):
            command = "litellm-router" if "--entrypoint" in part else "litellm-router serve"
            yield shlex.split(command + found[1])


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@functools.cache
def usage(module: str) -> str:
    """What `python -m module --help` prints; in this process, which has imported most of it."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", [module, "--help"])
        with contextlib.suppress(SystemExit, ImportError):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    return printed.getvalue()


def understood(words: list[str]) -> bool:
    """Whether what is called is there and knows these options."""
    match words:
        case ["just", name, *rest]:
            recipe = run(Path(sys.executable).with_name("just"), "--show", name)
            does = re.findall(r'^    (?:exec )?(.+) "\$@"$', recipe.stdout, re.MULTILINE)
            return recipe.returncode == 0 and understood([*"".join(does).split(), *rest])
        case ["dev/deploy", *rest]:
            return understood(["python", "-m", "dev.deploy", *rest])
        case ["litellm-router", *rest]:
            try:
                return bool(_parser(development).parse_args(rest))
            except SystemExit as ended:
                return ended.code == 0
        case ["python", "-m", module, *rest]:
            options = {word for word in rest if word.startswith("--")}
            if options:  # a module without any need not know --help
                return options <= set(re.findall(r"--[\w-]+", usage(module)))
            return importlib.util.find_spec(module) is not None
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_each_block_is_run_or_there_is_a_reason(page: Path):
    blocks = BLOCK.findall(page.read_text())
    assert {language for language, _ in blocks} <= SHELL | CODE | DATA
    test, *words = RUN.get(page.stem, (None,))
    if test:
        text = (ROOT / "tests" / test).read_text()
        assert page.stem in text
        assert all(word in text for word in words)
        blocks = blocks if words else []
    words += NOT_RUN.get(page.stem, {})
    for text in (text for language, text in blocks if language not in DATA):
        (found,) = [word for word in words if word in text]
        words.remove(found)
    assert not words


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_what_is_called_is_there_and_knows_its_options(page: Path):
    text = page.read_text()
    assert [words for words in calls(text) if not understood(words)] == []
    assert not re.search(r"(?<!\.venv/bin/)\bpython -m|`pytest", text), "what the packages are not in"


@pytest.mark.parametrize(
    "call", ["just nothing", "just bench --fast", "litellm-router keys make", "python -m bench.nothing"]
)
def test_what_is_not_there_is_found_out(call: str):
    assert not understood(call.split())
