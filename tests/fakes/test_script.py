"""Scripted answers: calls and words that the prompt asks for, and values that fit a schema."""

import pytest
from anthropic import Anthropic

from tests.fakes import strict
from tests.fakes.behaviour import Behaviour
from tests.fakes.formats.anthropic import SIGNATURE
from tests.fakes.script import called, example, spoken
from tests.fakes.server import FakeProvider


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ('CALL bash {"command": "ls"} ', ("Bash", {"command": "ls"})),
        ('"CALL Bash {\\"command\\": \\"ls\\"} "', ("Bash", {"command": "ls"})),
        ('CALL bash {"nested": {"a": 1}} and more', ("Bash", {"nested": {"a": 1}})),
        ('CALL other {"command": "ls"} ', None),
        ("CALL bash {broken", None),
        ("call bash", None),
    ],
)
def test_a_call_is_read_from_the_prompt(text: str, call: object):
    assert called(text, ["Bash", "Read"]) == call


def test_words_are_turned_round():
    assert spoken("REVERSE olleh ") == "hello"
    assert spoken("hello") == "hello"


def test_an_example_fits_its_schema():
    schema = {
        "type": "object",
        "properties": {
            "names": {"type": "array", "items": {"type": ["string", "null"]}},
            "size": {"$ref": "#/$defs/size"},
            "kind": {"enum": ["a", "b"]},
            "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "left_out": {"type": "boolean"},
        },
        "required": ["names", "size", "kind", "either"],
        "additionalProperties": False,
        "$defs": {"size": {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}},
    }
    assert example(schema) == {"names": ["Ulm"], "size": {"n": 7.5}, "kind": "a", "either": 7}


def test_a_scripted_claude_thinks_and_speaks_before_it_calls():
    with FakeProvider() as fake:
        fake.always(Behaviour(scripted=True))
        client = Anthropic(base_url=strict.base(fake.url, "anthropic"), api_key="k", max_retries=0)
        with client.messages.stream(
            model="claude-sonnet-5-5",
            max_tokens=100,
            thinking={"type": "adaptive"},
            tools=[{"name": "weather", "input_schema": {"type": "object"}}],
            messages=[{"role": "user", "content": 'CALL weather {"city": "Ulm"} '}],
        ) as stream:
            thought, said, used = stream.get_final_message().content
        assert (thought.type, said.type, used.type) == ("thinking", "text", "tool_use")
        assert thought.type == "thinking"
        assert thought.signature == SIGNATURE
        assert used.type == "tool_use"
        assert used.input == {"city": "Ulm"}
