"""The contents of messages, as a server of OpenAI's format takes them."""

from typing import Any

import orjson
import pytest

from container.formats.shared.parts import Texts, fitted
from container.request.completion import parse

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def contents(*content: Any, texts: Texts = "parts", role: str = "user", drop_params: bool = False) -> list[Any]:
    messages = [{"role": role, "content": each} for each in content]
    return [message["content"] for message in fitted(messages, texts, drop_params=drop_params)]


def test_texts_are_not_touched():
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None}, {"role": "user"}]
    assert fitted(messages, "only", drop_params=True) is messages


def test_what_the_client_sent_stays_as_it_is():
    message = {"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64,AAAA"}]}
    fitted([message], "joined", drop_params=True)
    assert message == {"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64,AAAA"}]}


@pytest.mark.parametrize("texts", ["joined", "only"])
def test_a_list_of_texts_becomes_a_text_for_who_takes_no_lists(texts):
    assert contents([text("A"), text("B")], texts=texts) == ["A\nB"]


def test_an_empty_text_leaves_no_line():
    assert contents([text(""), text("B")], texts="joined") == ["B"]


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_lists_become_texts_in_every_role(role):
    assert contents([text("A")], texts="joined", role=role) == ["A"]


def test_a_list_stays_for_who_takes_lists():
    assert contents([text("A"), text("B")]) == [[text("A"), text("B")]]


def test_a_list_with_a_picture_stays_one():
    assert contents([text("A"), PICTURE], texts="joined") == [[text("A"), PICTURE]]


def test_what_is_no_text_is_left_out_with_drop_params_where_only_texts_are_taken():
    assert contents([text("A"), PICTURE, SOUND], texts="only", drop_params=True) == ["A"]


def test_what_is_no_text_is_the_providers_to_refuse_without_drop_params():
    assert contents([text("A"), PICTURE], texts="only") == [[text("A"), PICTURE]]


@pytest.mark.parametrize(
    "picture", ["https://p.example/a.png", {"url": "https://p.example/a.png", "format": "image/png"}]
)
def test_the_address_of_a_picture_stands_in_an_object_of_openais(picture):
    (parts,) = contents([{"type": "image_url", "image_url": picture}])
    assert parts == [{"type": "image_url", "image_url": {"url": "https://p.example/a.png"}}]


def test_the_detail_of_a_picture_stays():
    picture = {"type": "image_url", "image_url": {"url": "https://p.example/a.png", "detail": "low"}}
    assert contents([picture]) == [[picture]]


def test_pictures_that_tools_return_come_after_the_last_result():
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}, {"id": "2"}]}
    messages = [
        call,
        {"role": "tool", "tool_call_id": "1", "content": [text("here"), PICTURE]},
        {"role": "tool", "tool_call_id": "2", "content": [PICTURE]},
        {"role": "user", "content": "And now?"},
    ]
    made = fitted(messages, "parts", drop_params=False)
    assert [message["role"] for message in made] == ["assistant", "tool", "tool", "user", "user"]
    assert made[1]["content"] == [text("here")]
    assert made[2]["content"]
    assert isinstance(made[2]["content"], str)
    assert [part["type"] for part in made[3]["content"]] == ["text", "image_url", "image_url"]


def test_pictures_of_the_last_message_are_not_lost():
    made = fitted([{"role": "tool", "tool_call_id": "1", "content": [PICTURE]}], "parts", drop_params=False)
    assert made[-1]["role"] == "user"
    assert made[-1]["content"][-1] == PICTURE


@pytest.mark.parametrize(
    "part", [{}, {"type": None}, {"type": "text"}, {"type": "text", "text": 1}, {"type": "image_url"}]
)
@pytest.mark.parametrize("texts", ["parts", "joined", "only"])
def test_odd_parts_are_the_providers_to_refuse(part, texts):
    assert contents([part], texts=texts) == [[part]]


def test_a_conversation_reaches_a_deployment_with_the_parts_that_it_takes(formats, deployment):
    d = deployment(model="deepseek/deepseek-chat", api_key="k")
    messages = [{"role": "user", "content": [text("A"), text("B")]}]
    request = parse("chat_completions", orjson.dumps({"model": "m", "messages": messages}))
    sent = formats.of(d, "deepseek-chat", "chat_completions").request(d, "deepseek-chat", request)
    assert orjson.loads(sent.body)["messages"] == [{"role": "user", "content": "A\nB"}]
