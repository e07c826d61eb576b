"""A provider's whole answer, read and renamed."""

import orjson
import pytest

from container.routing.outcome import Outcome
from container.upstream.answer import Plain, plain


def answer(**fields) -> bytes:
    return orjson.dumps({"id": "x", "model": "theirs-2026", "choices": [{"index": 0}], **fields})


def read(raw: bytes, name: str = "ours") -> Plain:
    found = plain(raw, name)
    assert isinstance(found, Plain)
    return found


def test_the_models_name_is_replaced_and_every_other_byte_kept():
    raw = b'{ "id":"x",\n "model": "theirs",\t"choices":[{"message":{"content":"theirs \\u00fc"}}], "n":1.50 }'
    assert read(raw).body == raw.replace(b'"model": "theirs"', b'"model": "ours"')


@pytest.mark.parametrize("name", ["ours", 'a "b" \\ ü/x', "theirs-2026"])
def test_any_name_is_written_as_json(name):
    body = orjson.loads(read(answer(), name).body)
    assert body == {"id": "x", "model": name, "choices": [{"index": 0}]}


@pytest.mark.parametrize("theirs", [None, "", 5, "ü 🙂", 'with "quotes"'])
def test_any_name_is_replaced(theirs):
    assert orjson.loads(read(answer(model=theirs)).body)["model"] == "ours"
    escaped = b'{"model": "\\u00fc", "choices": []}'
    assert orjson.loads(read(escaped).body) == {"model": "ours", "choices": []}


def test_an_answer_without_a_model_gets_one():
    assert orjson.loads(read(b'{"choices": []}').body) == {"choices": [], "model": "ours"}


def test_a_model_inside_the_answer_is_not_the_answers():
    inner = {"choices": [{"message": {"tool": {"model": "theirs"}, "content": '"model":"theirs"'}}]}
    raw = orjson.dumps({**inner, "model": "theirs"})
    assert orjson.loads(read(raw).body) == {**inner, "model": "ours"}
    spaced = b'{"choices":[{"x":{"model":"theirs"}}],"model" : "theirs"}'
    assert orjson.loads(read(spaced).body) == {"choices": [{"x": {"model": "theirs"}}], "model": "ours"}


@pytest.mark.parametrize(("usage", "noticed"), [({"total_tokens": 3}, {"total_tokens": 3}), (None, None), ("x", None)])
def test_usage_is_noticed(usage, noticed):
    assert read(answer(usage=usage)).usage == noticed


def test_embeddings_are_an_answer():
    raw = b'{"object":"list","data":[{"embedding":[0.1]}],"model":"theirs"}'
    assert read(raw).body == raw.replace(b"theirs", b"ours")


def test_an_answer_may_carry_an_empty_error():
    assert read(answer(error=None)).usage is None


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "The provider's answer is not valid JSON."),
        (b"<html>", "The provider's answer is not valid JSON."),
        (b'{"choices": [', "The provider's answer is not valid JSON."),
        (b"[]", "The provider's answer is not a JSON object."),
        (b"null", "The provider's answer is not a JSON object."),
        (b"{}", "The provider's answer holds neither choices nor data."),
        (b'{"error": "It broke."}', "It broke."),
        (b'{"error": {"message": "It broke."}}', "It broke."),
        (b'{"error": {"code": 5}}', "The provider answered with an error."),
    ],
)
def test_anything_else_is_a_failure(raw, message):
    found = plain(raw, "ours")
    assert isinstance(found, Outcome)
    assert (found.kind, found.status, found.message) == ("server", 0, message)


def test_an_error_with_status_200_keeps_its_meaning():
    found = plain(b'{"error": {"message": "Slow down.", "code": 429}}', "ours")
    assert isinstance(found, Outcome)
    assert (found.kind, found.status) == ("rate_limit", 429)


def test_an_answer_nested_too_deeply_to_be_written_is_a_failure():
    raw = b'{"choices":' + b"[" * 400 + b"]" * 400 + b"}"
    found = plain(raw, "ours")
    assert isinstance(found, Outcome)
    assert found.kind == "server"
