"""Sources of the Worker's variables on a developer's machine."""

from pathlib import Path

import pytest

from dev import variables, wrangler_dev


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=1", "1"),
        ("export A = 1 ", "1"),
        ("A=one two # said", "one two"),
        ("A='single # $x \\n'", "single # $x \\n"),
        ('A="double # \\n\\"quoted\\""', 'double # \n"quoted"'),
        ('A="two\nlines"', "two\nlines"),
        ("A=", ""),
        ("# B=2\nA=1\r\n", "1"),
        ("A=a=b", "a=b"),
    ],
)
def test_dotenv(text: str, value: str) -> None:
    assert variables.parse_dotenv(text) == {"A": value}


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("", []),
        ("A=1\n\n  # said\nB = 'two\nlines' # said\nexport C=3\r\n", []),
        ("A=1\nOPENAI_API_KEY: s3cret\nB=2\n", [2]),
        ("just words\nA=1\n=2", [1, 3]),
        ("1A=2", [1]),
        ("A=1\nB='never closed\nC=3", [2]),
        ('A="two\nlines"\nnonsense', [3]),
    ],
)
def test_broken_lines(text: str, broken: list[int]) -> None:
    assert variables.broken_lines(text) == broken


def test_the_file_is_optional(tmp_path: Path) -> None:
    said: list[str] = []
    assert variables.read_dev_vars(tmp_path, said.append) == {}
    (tmp_path / ".dev.vars").write_text("A=1\nB='2'\nC: s3cret\n")
    assert variables.read_dev_vars(tmp_path, said.append) == {"A": "1", "B": "2"}
    assert said == [".dev.vars:3: this line cannot be read; write NAME=value, or NAME='a value'."]


def test_the_default_key_is_used_without_a_custom_one() -> None:
    assert variables.worker_variables({}, {}, []) == {"LITELLM_MASTER_KEY": "sk-1234", "LOCAL_DEVELOPMENT": "true"}


def test_the_environment_overrides_the_file() -> None:
    given = variables.worker_variables(
        {"LITELLM_MASTER_KEY": "sk-file", "OPENAI_API_KEY": "file", "GROQ_API_KEY": "file", "PUBLIC_MODELS": "false"},
        {"LITELLM_MASTER_KEY": "sk-shell", "OPENAI_API_KEY": "shell", "GROQ_API_KEY": "", "HOME": "/home/a"},
        ["OPENAI_API_KEY", "GROQ_API_KEY", "MISTRAL_API_KEY"],
    )
    assert given == {
        "LITELLM_MASTER_KEY": "sk-shell",
        "LOCAL_DEVELOPMENT": "true",
        "OPENAI_API_KEY": "shell",
        "GROQ_API_KEY": "file",
        "PUBLIC_MODELS": "false",
    }


def test_an_empty_variable_counts_as_unset() -> None:
    given = variables.worker_variables({"LITELLM_MASTER_KEY": "", "OPENAI_API_KEY": ""}, {}, ["OPENAI_API_KEY"])
    assert given == {"LITELLM_MASTER_KEY": "sk-1234", "LOCAL_DEVELOPMENT": "true"}


def test_the_workers_settings_may_be_set_in_the_environment() -> None:
    given = variables.worker_variables({}, {"CONTAINER_SLEEP_AFTER": "1m"}, [], ["CONTAINER_SLEEP_AFTER"])
    assert given["CONTAINER_SLEEP_AFTER"] == "1m"


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("sk-1", "A='sk-1'"),
        (" a # b ", "A=' a # b '"),
        ("a$HOME ${B}", "A='a\\$HOME \\${B}'"),
        ("it's", "A=`it's`"),
        ('{"key": "x\ny"}', 'A=\'{"key": "x\ny"}\''),
        ("'`", 'A="\'`"'),
    ],
)
def test_values_for_wrangler_are_quoted_and_not_expanded(value: str, line: str) -> None:
    """The format was verified with dotenv 16 and dotenv-expand 12, which wrangler bundles."""
    assert wrangler_dev.dotenv({"A": value}) == line + "\n"
