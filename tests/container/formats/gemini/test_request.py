"""Chat requests in Gemini's format: cases that the differential test cannot generate, and intended differences from
LiteLLM."""

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.formats.gemini.request import body, traits
from container.formats.shared.wire import Unsupported

HELLO: Any = [{"role": "user", "content": "Hello"}]


def translated(messages: Any = HELLO, *, model: str = "gemini-2.5-flash", vertex: bool = False, **fields: Any) -> Any:
    drop = fields.pop("drop_params", False)
    return body({"model": model, "messages": messages, **fields}, traits(model, vertex=vertex), drop_params=drop)


def parts(content: Any, **options: Any) -> list[dict[str, Any]]:
    return translated([{"role": "user", "content": content}], **options)["contents"][0]["parts"]


def called(id: str, arguments: Any = "{}", **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}, **more}


# Limits


def test_output_limit():
    assert translated(max_tokens=5)["generationConfig"] == {"maxOutputTokens": 5}
    assert "generationConfig" not in translated()


# Fields that Gemini does not have


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("logit_bias", {"1": 1}),
        ("function_call", {"name": "f"}),
        ("prediction", {"type": "content"}),
        ("audio", {"voice": "x"}),
        ("modalities", ["text", "audio"]),
        ("reasoning_effort", "extreme"),
        ("labels", {"team": "a"}),
        ("min_p", 0.1),
        ("response_format", {"type": "grammar"}),
    ],
)
def test_unsupported_field_is_rejected_by_name_or_dropped(field, value):
    with pytest.raises(Unsupported) as raised:
        translated(**{field: value})
    assert raised.value.param == field
    assert translated(**{field: value}, drop_params=True) == translated()


def test_gemini_3_has_no_penalties():
    with pytest.raises(Unsupported):
        translated(model="gemini-3.5-flash", presence_penalty=0.5)
    assert translated(model="gemini-3.5-flash", presence_penalty=0) == translated()


def test_bookkeeping_fields_are_not_sent():
    fields = {"user": "u", "metadata": {"a": 1}, "store": True, "stream_options": {"include_usage": True}}
    assert translated(**fields, stream=True, parallel_tool_calls=False) == translated()


def test_labels_are_sent_to_vertex_ai_only():
    assert translated(vertex=True, labels={"team": "a"})["labels"] == {"team": "a"}


@pytest.mark.parametrize(
    ("tier", "sent"), [("auto", None), ("default", "standard"), ("flex", "flex"), ("priority", "priority")]
)
def test_service_tier(tier, sent):
    """Accepted difference: LiteLLM turns `auto`, which SDKs send by default, into the more expensive `priority`."""
    assert translated(service_tier=tier).get("serviceTier") == sent


def test_cached_content_and_safety():
    found = translated(cached_content="cachedContents/1", safety_settings=[{"category": "c", "threshold": "t"}])
    assert (found["cachedContent"], found["safetySettings"]) == (
        "cachedContents/1",
        [{"category": "c", "threshold": "t"}],
    )


# Turns


def test_system_prompt_alone_gets_a_user_turn():
    found = translated([{"role": "system", "content": "Be brief."}])
    assert found["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert found["contents"] == [{"role": "user", "parts": [{"text": "."}]}]


def test_gemma_has_no_system_prompt():
    found = translated([{"role": "system", "content": "Be brief."}, *HELLO], model="gemma-3-27b-it")
    assert found["contents"] == [{"role": "user", "parts": [{"text": "Be brief."}, {"text": "Hello"}]}]
    assert "systemInstruction" not in found


def test_repeated_identical_calls_stay_separate():
    """Accepted difference: LiteLLM sends one call and two results, which Google rejects."""
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [called("a"), called("b")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
    ]
    contents = translated(messages)["contents"]
    assert [len(turn["parts"]) for turn in contents] == [1, 2, 2]


def test_call_without_arguments_has_no_args():
    """Accepted difference: LiteLLM sends `{"type": "object"}` as arguments."""
    messages = [*HELLO, {"role": "assistant", "tool_calls": [called("a", "")]}]
    assert translated(messages)["contents"][1]["parts"] == [{"functionCall": {"name": "f", "args": {}}}]


def test_thought_signature_is_restored():
    in_id = called("call_1__thought__c2ln")
    in_fields = called("call_2", provider_specific_fields={"thought_signature": "c2ln"})
    for call in (in_id, in_fields):
        messages = [
            *HELLO,
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": "x"},
        ]
        _, said, result = translated(messages, model="gemini-3.5-flash")["contents"]
        id = call["id"].partition("__")[0]
        assert said["parts"] == [{"functionCall": {"name": "f", "args": {}, "id": id}, "thoughtSignature": "c2ln"}]
        assert result["parts"] == [{"functionResponse": {"name": "f", "response": {"content": "x"}, "id": id}}]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "tool_call_id": "nobody", "content": "x"},
        {"role": "assistant", "tool_calls": [called("a", "{")]},
        {"role": "assistant", "tool_calls": [called("a", "[1]")]},
        {"role": "assistant", "tool_calls": [{"id": "a"}]},
        {"role": "moderator", "content": "x"},
        {"role": "user", "content": [{"type": "video_url", "video_url": {"url": "x"}}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "A"}}]},
        {"role": "user", "content": [{"type": "file", "file": {"filename": "a.pdf"}}]},
    ],
)
def test_invalid_messages_are_rejected(message):
    with pytest.raises(Unsupported) as raised:
        translated([*HELLO, message])
    assert raised.value.param == "messages"


# Pictures and documents


def image(url: Any, **more: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url, **more}}]


@pytest.mark.parametrize("vertex", [False, True])
@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("data:image/png;base64,AAAA", {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}),
        ("https://a.b/c.png?x=1.mp4", {"fileData": {"mimeType": "image/png", "fileUri": "https://a.b/c.png?x=1.mp4"}}),
        ("https://a.b/c", {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://a.b/c"}}),
        ("gs://bucket/c.webp", {"fileData": {"mimeType": "image/webp", "fileUri": "gs://bucket/c.webp"}}),
    ],
)
def test_pictures(url, part, vertex):
    """Accepted difference: Google fetches URLs. LiteLLM fetches them itself for AI Studio."""
    assert parts(image(url), vertex=vertex)[1] == part


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "https://a.b/c.mp4",
        "data:image/png,AAAA",
        "data:;base64,AAAA",
        "https://generativelanguage.googleapis.com/v1beta/files/1",
        "",
        None,
        7,
    ],
)
def test_invalid_image_url_is_rejected(url):
    with pytest.raises(Unsupported):
        parts(image(url))


@pytest.mark.parametrize(
    ("url", "stated"),
    [
        ("https://a.b/c", "video/mp4"),
        ("gs://a/b", "application/pdf"),
        ("data:image/png;base64,AAAA", "video/mp4"),
        ("https://www.youtube.com/watch?v=1", "image/png"),
        ("https://youtu.be/1", None),
        ("https://generativelanguage.googleapis.com/v1beta/files/1", "image/png"),
    ],
)
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_url_of_another_media_type_is_not_an_image(url, stated, role):
    """Accepted difference: LiteLLM sends videos as images, which budgets count per image."""
    part = {"type": "image_url", "image_url": {"url": url, "format": stated}}
    message = {"role": role, "content": [part]} if role == "user" else {"role": role, "content": "y", "images": [part]}
    with pytest.raises(Unsupported) as raised:
        translated([*HELLO, message])
    assert raised.value.param == "messages"


def test_video_url_is_a_file():
    film = "https://www.youtube.com/watch?v=1"
    [part] = parts([{"type": "file", "file": {"file_id": film, "format": "video/mp4"}}])[:1]
    assert part == {"fileData": {"mimeType": "video/mp4", "fileUri": film}}


def test_file_url():
    [part] = parts([{"type": "file", "file": {"file_id": "gs://b/a.pdf"}}])[:1]
    assert part == {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://b/a.pdf"}}
    uploaded = "https://generativelanguage.googleapis.com/v1beta/files/1"
    [part] = parts([{"type": "file", "file": {"file_id": uploaded}}])[:1]
    assert part == {"fileData": {"fileUri": uploaded}}


def test_detail_is_per_image_since_gemini_3_and_global_before():
    assert parts(image("data:image/png;base64,AAAA", detail="low"), model="gemini-3.5-flash")[1]["mediaResolution"] == {
        "level": "MEDIA_RESOLUTION_LOW"
    }
    content = [*image("data:image/png;base64,AAAA", detail="low"), *image("data:image/png;base64,AAAA", detail="high")]
    found = translated([{"role": "user", "content": content}])
    assert found["generationConfig"] == {"mediaResolution": "MEDIA_RESOLUTION_HIGH"}


def test_image_from_a_tool_is_sent_with_its_result():
    messages = [
        *HELLO,
        {"role": "assistant", "tool_calls": [called("a")]},
        {
            "role": "tool",
            "tool_call_id": "a",
            "content": [{"type": "text", "text": "see"}, *image("data:image/png;base64,AAAA")[1:]],
        },
    ]
    result = translated(messages)["contents"][2]["parts"][0]["functionResponse"]
    assert result["response"] == {"content": "see"}
    assert result["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]


# Tools


def test_googles_built_in_tools():
    tools = [{"googleSearch": {}}, {"code_execution": {}}]
    assert translated(tools=tools)["tools"] == [{"googleSearch": {}}, {"codeExecution": {}}]
    assert translated(web_search_options={})["tools"] == [{"googleSearch": {}}]
    assert translated(tools=[{"type": "google_search", "google_search": {}}])["tools"] == [{"googleSearch": {}}]


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "file_search"},
        {"type": "function", "googleSearch": {}},
        {"name": 1, "googleSearch": {}},
        {"type": ["x"]},
    ],
)
def test_invalid_tools_are_rejected(tool):
    with pytest.raises((Unsupported, TypeError)):
        translated(tools=[tool])


def test_legacy_functions():
    found = translated(functions=[{"name": "f", "parameters": {"type": "object", "properties": {}}}])
    assert found["tools"] == [{"functionDeclarations": [{"name": "f", "parameters": {"type": "object"}}]}]


@pytest.mark.parametrize(
    "function", [{"urlContext": {}}, {"googleSearch": {}}, {"type": "web_search", "name": 1}, {}, "urlContext"]
)
def test_legacy_functions_are_not_googles_tools(function):
    with pytest.raises(Unsupported):
        translated(functions=[function])


# Arbitrary messages


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from(("user", "tool", "text"))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from("role content type text image_url url file function name id tool_calls arguments".split()),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@given(content=ANYTHING, role=st.sampled_from(("user", "assistant", "tool", "system")), more=ANYTHING)
def test_arbitrary_messages_cause_at_most_a_400(content, role, more):
    """`Gemini.request` handles these exceptions like `Unsupported`."""
    message = {"role": role, "content": content if isinstance(content, (str, list)) else None, "tool_calls": more}
    with contextlib.suppress(Unsupported, AttributeError, KeyError, TypeError):
        orjson.dumps(translated([message], tools=more))
