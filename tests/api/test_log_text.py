"""Log lines as text: the fields of the JSON line, readable and one line each."""

import pytest

from worker.core.log_text import text_line

HEAD = {"time": "2026-01-01T00:00:00.000Z", "level": "info", "source": "edge", "event": "request_finished"}


def test_a_line_starts_with_time_level_source_and_event():
    assert text_line(HEAD) == "2026-01-01T00:00:00.000Z INFO edge request_finished"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("gpt-4o", "gpt-4o"),
        ("https://api.example/v1", "https://api.example/v1"),
        ("", '""'),
        ("two words", '"two words"'),
        ('a"quote', '"a\\"quote"'),
        ("a=b", '"a=b"'),
        ("forged\n2026-01-01 INFO edge admin", '"forged\\n2026-01-01 INFO edge admin"'),
        ("größe", '"gr\\u00f6\\u00dfe"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        (3, "3"),
        (0.5, "0.5"),
        (12.0, "12.0"),
        (0.0, "0.0"),
        (0.000000001, "0.000000001"),
        (0.000025, "0.000025"),
        (True, "true"),
        (["a", 1], '["a", 1]'),
        (ValueError("broken"), '"broken"'),
    ],
)
def test_a_value_is_written_without_ambiguity(value, written):
    assert text_line({**HEAD, "field": value}).partition(" field=")[2] == written


def test_null_fields_are_left_out():
    assert "key_alias" not in text_line({**HEAD, "key_alias": None, "status": 200})
