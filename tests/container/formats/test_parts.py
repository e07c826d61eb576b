"""Message content as OpenAI-compatible servers accept it."""

from typing import Any

import orjson
import pytest

from container.formats.shared.fit import Texts, fitted_parts
from container.request.completion import parse

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def contents(*content: Any, texts: Texts = "parts", role: str = "user", drop_params: bool = False) -> list[Any]:
    messages = [{"role": role, "content": each} for each in content]
    return [message["content"] for message in fitted_parts(messages, texts, drop_params=drop_params)]


def test_text_is_unchanged():
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None}, {"role": "user"}]
    assert fitted_parts(messages, "only", drop_params=True) is messages


def test_clients_objects_are_not_modified():
    message = {"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64,AAAA"}]}
    fitted_parts([message], "joined", drop_params=True)
    assert message == {"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64,AAAA"}]}


@pytest.mark.parametrize("texts", ["joined", "only"])
def test_list_of_texts_becomes_text_where_lists_are_unsupported(texts):
    assert contents([text("A"), text("B")], texts=texts) == ["A\nB"]


def test_empty_text_adds_no_line():
    assert contents([text(""), text("B")], texts="joined") == ["B"]


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_lists_become_text_in_every_role(role):
    assert contents([text("A")], texts="joined", role=role) == ["A"]


def test_list_is_kept_where_supported():
    assert contents([text("A"), text("B")]) == [[text("A"), text("B")]]


def test_list_with_an_image_is_kept():
    assert contents([text("A"), PICTURE], texts="joined") == [[text("A"), PICTURE]]


def test_non_text_part_is_dropped_with_drop_params_where_only_text_is_supported():
    assert contents([text("A"), PICTURE, SOUND], texts="only", drop_params=True) == ["A"]


def test_non_text_part_without_drop_params_is_left_to_the_provider():
    assert contents([text("A"), PICTURE], texts="only") == [[text("A"), PICTURE]]


@pytest.mark.parametrize(
    "picture", ["https://p.example/a.png", {"url": "https://p.example/a.png", "format": "image/png"}]
)
def test_image_url_is_an_object(picture):
    (parts,) = contents([{"type": "image_url", "image_url": picture}])
    assert parts == [{"type": "image_url", "image_url": {"url": "https://p.example/a.png"}}]


def test_image_detail_is_kept():
    picture = {"type": "image_url", "image_url": {"url": "https://p.example/a.png", "detail": "low"}}
    assert contents([picture]) == [[picture]]


def test_images_from_tools_follow_the_last_result():
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}, {"id": "2"}]}
    messages = [
        call,
        {"role": "tool", "tool_call_id": "1", "content": [text("here"), PICTURE]},
        {"role": "tool", "tool_call_id": "2", "content": [PICTURE]},
        {"role": "user", "content": "And now?"},
    ]
    made = fitted_parts(messages, "parts", drop_params=False)
    assert [message["role"] for message in made] == ["assistant", "tool", "tool", "user", "user"]
    assert made[1]["content"] == [text("here")]
    assert made[2]["content"]
    assert isinstance(made[2]["content"], str)
    assert [part["type"] for part in made[3]["content"]] == ["text", "image_url", "image_url"]


def test_images_of_the_last_message_are_kept():
    made = fitted_parts([{"role": "tool", "tool_call_id": "1", "content": [PICTURE]}], "parts", drop_params=False)
    assert made[-1]["role"] == "user"
    assert made[-1]["content"][-1] == PICTURE


@pytest.mark.parametrize(
    "part", [{}, {"type": None}, {"type": "text"}, {"type": "text", "text": 1}, {"type": "image_url"}]
)
@pytest.mark.parametrize("texts", ["parts", "joined", "only"])
def test_unusual_parts_are_left_to_the_provider(part, texts):
    assert contents([part], texts=texts) == [[part]]


def test_request_is_adapted_to_the_parts_that_a_deployment_supports(formats, deployment):
    d = deployment(model="deepseek/deepseek-chat", api_key="k")
    messages = [{"role": "user", "content": [text("A"), text("B")]}]
    request = parse("chat_completions", orjson.dumps({"model": "m", "messages": messages}))
    sent = formats.of(d, "deepseek-chat", "chat_completions").request(d, "deepseek-chat", request)
    assert orjson.loads(sent.body)["messages"] == [{"role": "user", "content": "A\nB"}]
