"""docs/deploy-cloudflare.md matches the project. `test_deploy.py` runs the deployment against a fake wrangler."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dev import deploy
from dev.wrangler_command import Wrangler
from tests.deploy.pages import Page
from tests.processes import ROOT

PAGE = Page("deploy-cloudflare")
RECIPES = re.findall(r"^\| `just ([a-z]+)`", PAGE.text, re.MULTILINE)


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_in_the_table_exists(name: str):
    command = [Path(sys.executable).with_name("just"), "--show", name]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, timeout=30).returncode == 0


def test_the_table_lists_the_expected_recipes():
    assert RECIPES == ["install", "dev", "test", "deploy", "tail", "wrangler"]


def test_its_variables_are_those_that_the_deployment_needs():
    block = PAGE.block("just deploy")
    assert set(re.findall(r"([A-Z_]+)=", block)) == {*deploy.CREDENTIALS, deploy.MASTER_KEY}


@pytest.mark.parametrize("word", ["secret put", "rollback"])
def test_wrangler_has_the_command(word: str):
    assert f"just wrangler {word}" in PAGE.text
    ended = Wrangler.installed().capture(*word.split(), "--help")
    assert ended.returncode == 0, ended.stderr
    assert f"wrangler {word}" in ended.stdout
