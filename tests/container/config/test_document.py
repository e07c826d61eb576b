"""YAML with line numbers, and errors for unreadable files."""

from pathlib import Path
from textwrap import dedent

import pytest

from container.config.document import ConfigError, Document, read


@pytest.fixture
def document(tmp_path: Path):
    def written(text: str) -> Document:
        path = tmp_path / "config.yaml"
        path.write_text(dedent(text), encoding="utf-8")
        return read(path)

    return written


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read(path)
    return str(caught.value)


def test_values_have_their_yaml_types(document):
    content = "text: a\nquoted: '1'\nwhole: 1\nnumber: 1.5\nflag: true\nnothing:\nlist: [1, two]\nmap: {a: {b: c}}\n"
    assert document(content).data == {
        "text": "a",
        "quoted": "1",
        "whole": 1,
        "number": 1.5,
        "flag": True,
        "nothing": None,
        "list": [1, "two"],
        "map": {"a": {"b": "c"}},
    }


def test_location_is_file_line_and_dotted_key(document):
    found = document("""\
        # a comment
        model_list:
          - model_name: a
            litellm_params:
              model: openai/gpt-4o
        """)
    assert found.where(("model_list", 0, "litellm_params", "model")) == (
        "config.yaml:5: model_list[0].litellm_params.model"
    )


def test_missing_key_has_the_line_of_its_parent(document):
    found = document("model_list:\n  - model_name: a\n    litellm_params:\n      rpm: 1\n")
    assert found.where(("model_list", 0, "litellm_params", "model")).startswith("config.yaml:3: ")


def test_file_has_a_location_without_a_key(document):
    assert document("a: 1\n").where(()) == "config.yaml:1"


def test_alias_copies_its_anchor(document):
    found = document("base: &base {model: openai/a, rpm: 1}\nother: *base\n")
    assert found.data["other"] == {"model": "openai/a", "rpm": 1}


def test_explicit_keys_override_a_merged_mapping(document):
    found = document("""\
        base: &base {model: openai/a, rpm: 1}
        before:
          model: openai/b
          <<: *base
        after:
          <<: *base
          model: openai/c
        """)
    assert found.data["before"] == {"model": "openai/b", "rpm": 1}
    assert found.data["after"] == {"model": "openai/c", "rpm": 1}
    assert found.problems == []


def test_first_of_several_merged_mappings_wins(document):
    found = document("""\
        a: &a {x: 1}
        b: &b {x: 2, y: 2}
        both: {<<: [*a, *b]}
        """)
    assert found.data["both"] == {"x": 1, "y": 2}


def test_merge_of_a_non_mapping_is_rejected(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: 1\nb:\n  <<: text\n")
    assert "config.yaml:3" in refusal(path)


def test_repeated_key_is_reported_on_its_second_line(document):
    found = document("a: 1\nb: {c: 1}\na: 2\n")
    [problem] = found.problems
    assert str(problem).startswith("config.yaml:3: a: warning: ")
    assert found.data["a"] == 2


def test_repeated_sections_are_merged(document):
    found = document("s: {budget: 1, x: 1}\nb: 1\ns: {x: 2}\n")
    assert found.data["s"] == {"budget": 1, "x": 2}
    assert [p.level for p in found.problems] == ["warning"]


def test_included_file_extends_lists_and_sections(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "config.yaml").write_text("include: [more/models.yaml]\nlist: [1]\ns: {a: 1, b: 1}\n")
    (tmp_path / "more" / "models.yaml").write_text("include: [deeper.yaml]\nlist:\n  - 2\n  - x: 3\ns: {b: 2}\n")
    (tmp_path / "more" / "deeper.yaml").write_text("include: [models.yaml]\nlast: true\n")
    found = read(tmp_path / "config.yaml")
    assert found.data == {"list": [1, 2, {"x": 3}], "s": {"a": 1, "b": 2}, "last": True}
    assert found.where(("list", 2, "x")) == "models.yaml:4: list[2].x"
    assert found.where(("list", 0)) == "config.yaml:2: list[0]"


@pytest.mark.parametrize("content", ["", "# later\n", "---\n", "null\n"])
def test_included_file_may_be_empty(tmp_path, content):
    (tmp_path / "extra.yaml").write_text(content)
    path = tmp_path / "config.yaml"
    path.write_text("include: [extra.yaml]\nlitellm_settings: {drop_params: true}\n")
    assert read(path).data == {"litellm_settings": {"drop_params": True}}


def test_missing_included_file_is_reported(tmp_path):
    (tmp_path / "config.yaml").write_text("include: [absent.yaml]\n")
    assert "absent.yaml" in refusal(tmp_path / "config.yaml")


def test_include_must_be_a_list(document):
    [problem] = document("include: {a: b}\n").problems
    assert (problem.level, "include" in problem.where) == ("error", True)


def test_same_key_in_two_mappings_is_not_repeated(document):
    assert document("a: {x: 1}\nb: {x: 1}\nlist: [{x: 1}, {x: 1}]\n").problems == []


def test_missing_file_error_names_the_config_option(tmp_path):
    said = refusal(tmp_path / "absent.yaml")
    assert str(tmp_path / "absent.yaml") in said
    assert "--config" in said


def test_directory_cannot_be_read(tmp_path):
    assert str(tmp_path) in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("model_list:\n  - a: [1, 2\n", 3),
        ("a: 1\n  b: 2\n", 2),
        ("a: 'open\n", 2),
        ("a: 1\n\tb: 2\n", 2),
        ("a: *nowhere\n", 1),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: 1\nb: !secret x\n", 2),
        ("a: 1\nb: 2020-99-99\n", 2),
        ("a: !!int text\n", 1),
    ],
    ids=["flow", "indentation", "quote", "tab", "anchor", "two documents", "tag", "date", "cast"],
)
def test_invalid_yaml_is_reported_with_its_line(tmp_path, content, line):
    path = tmp_path / "config.yaml"
    path.write_text(content)
    said = refusal(path)
    assert said.startswith(f"config.yaml:{line}: error: not valid YAML")


@pytest.mark.parametrize("content", ["", "# only a comment\n", "- a\n", "text\n"])
def test_file_must_be_a_mapping(tmp_path, content):
    path = tmp_path / "config.yaml"
    path.write_text(content)
    assert "config.yaml:1: error: the file has to be a mapping" in refusal(path)


@pytest.mark.parametrize("content", [b"a: \xff\xfe\n", b"a: \x00\n"])
def test_undecodable_bytes_are_rejected(tmp_path, content):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    assert "config.yaml" in refusal(path)


def test_byte_order_mark_is_ignored(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(path).data == {"a": 1}


def test_recursive_mapping_is_rejected(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: &a\n  b: *a\n")
    said = refusal(path)
    assert said.startswith("config.yaml:1: ")
    assert "nested too deeply" in said
