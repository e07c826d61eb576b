"""Bodies for the engine's endpoints are parsed and rewritten, so that LiteLLM sees nothing unchecked."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import UploadFile
from starlette.requests import Request

from container.request.authority import forbidden
from container.request.engine_body import FormBody, JsonBody, read_body
from worker.core.api.endpoints import TABLE
from worker.core.api.errors import ApiError

IMAGES = TABLE["/images/generations"]
AUDIO = TABLE["/audio/transcriptions"]


# JSON


def sent_json(endpoint, **fields) -> dict:
    return orjson.loads(read_body(endpoint, orjson.dumps(fields), "application/json").for_model("dep-1"))


def test_json_body_gets_the_engines_model_name():
    body = read_body(IMAGES, b'{"model": "m", "prompt": "a cat", "n": 2}', "")
    assert isinstance(body, JsonBody)
    assert (body.model, body.content_type) == ("m", "application/json")
    assert orjson.loads(body.for_model("dep-1")) == {"model": "dep-1", "prompt": "a cat", "n": 2}
    assert orjson.loads(body.for_model("dep-2"))["model"] == "dep-2"


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "nonsense"])
def test_json_content_type_is_ignored(content_type):
    assert read_body(IMAGES, b'{"model": "m", "prompt": "x"}', content_type).model == "m"


def test_repeated_name_cannot_smuggle_another_model():
    body = read_body(IMAGES, b'{"model": "secret-model", "model": "m"}', "")
    assert body.model == "m"
    assert body.for_model("dep-1") == b'{"model":"dep-1"}'


@pytest.mark.parametrize("name", ["api_base", "litellm_params", "mock_response", "extra_body", "aws_role_name"])
def test_authority_field_is_rejected(name):
    with pytest.raises(ApiError) as caught:
        sent_json(IMAGES, model="m", **{name: "x"})
    assert (caught.value.status, caught.value.param) == (400, name)


@pytest.mark.parametrize("name", ["client_metadata", "x_trace", "max_tokens", "litellm"])
def test_field_unknown_to_the_endpoint_is_removed(name):
    assert name not in sent_json(IMAGES, model="m", **{name: {"a": 1}})


@pytest.mark.parametrize(
    ("endpoint", "name", "value"),
    [
        ("/images/generations", "prompt", ["a"]),
        ("/images/generations", "prompt", 5),
        ("/moderations", "input", 5),
        ("/rerank", "documents", "x"),
        ("/rerank", "query", 5),
        ("/audio/speech", "input", 5),
    ],
)
def test_shape_that_breaks_litellm_is_a_400(endpoint, name, value):
    with pytest.raises(ApiError) as caught:
        sent_json(TABLE[endpoint], model="m", **{"input": "x", name: value})
    assert (caught.value.status, caught.value.param) == (400, name)


@pytest.mark.parametrize("named", [{}, {"model": None}])
def test_moderations_have_openais_default_model(named):
    body = read_body(TABLE["/moderations"], orjson.dumps({"input": "Hi", **named}), "application/json")
    assert body.model == "omni-moderation-latest"


def test_other_endpoints_have_no_default_model():
    with pytest.raises(ApiError) as caught:
        sent_json(TABLE["/rerank"], query="a", documents=["b"])
    assert (caught.value.status, caught.value.param) == (400, "model")


@pytest.mark.parametrize(
    "name", ["url", "wx_credentials", "sampleCount", "num_generations", "x-api-key", "chat_history"]
)
def test_significant_unknown_field_is_rejected(name):
    with pytest.raises(ApiError) as caught:
        sent_json(IMAGES, model="m", **{name: 1})
    assert (caught.value.status, caught.value.param) == (400, name)


@pytest.mark.parametrize("count", ["20", 20.0, 0, -1, True, [2]])
def test_invalid_number_of_images_is_rejected(count):
    with pytest.raises(ApiError) as caught:
        sent_json(IMAGES, model="m", prompt="x", n=count)
    assert (caught.value.status, caught.value.param) == (400, "n")


@pytest.mark.parametrize("said", [["many words"], {"text": "x"}, 5, None])
def test_speech_input_must_be_text(said):
    with pytest.raises(ApiError) as caught:
        sent_json(TABLE["/audio/speech"], model="m", voice="v", input=said)
    assert (caught.value.status, caught.value.param) == (400, "input")


def test_gateway_fields_and_metadata_are_removed():
    fields = {"fallbacks": ["x"], "num_retries": 1, "timeout": 5, "tags": ["a"], "metadata": {"guardrails": ["x"]}}
    assert sent_json(IMAGES, model="m", prompt="x", **fields) == {"model": "dep-1", "prompt": "x"}


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{", b'{"prompt": "x"}', b'{"model": 5}', b"model=m", b'{"model": "\xff"}']
)
def test_body_without_a_model_is_rejected(raw):
    with pytest.raises(ApiError) as caught:
        read_body(IMAGES, raw, "application/json")
    assert caught.value.status == 400


# Forms


def part(name: str, value: bytes | str, *more: str, file: str | None = None) -> bytes:
    file_name = "" if file is None else f'; filename="{file}"'
    lines = [f'Content-Disposition: form-data; name="{name}"{file_name}', *more, "", ""]
    return "\r\n".join(lines).encode() + (value.encode() if isinstance(value, str) else value)


def form(*parts: bytes, boundary: str = "XYZ") -> tuple[bytes, str]:
    raw = b"".join(b"--" + boundary.encode() + b"\r\n" + p + b"\r\n" for p in parts)
    return raw + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


async def received(body: FormBody | JsonBody, model: str = "dep-1") -> list[tuple[str, bytes, str | None]]:
    """The name, content and file name of each part, in order, as LiteLLM's own parser reads them."""
    raw = body.for_model(model)

    async def receive():
        return {"type": "http.request", "body": raw, "more_body": False}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", body.content_type.encode())]}
    async with Request(scope, receive).form() as fields:
        return [
            (name, await value.read(), value.filename)
            if isinstance(value, UploadFile)
            else (name, value.encode(), None)
            for name, value in fields.multi_items()
        ]


def read(*parts: bytes) -> FormBody:
    body = read_body(AUDIO, *form(*parts))
    assert isinstance(body, FormBody)
    return body


def refusal(*parts: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(*parts)
    assert caught.value.status == 400
    return caught.value


async def test_form_gets_the_engines_model_name_first_and_keeps_the_rest():
    sound = bytes(range(256)) * 10
    body = read(
        part("file", sound, "Content-Type: audio/wav", file="a.wav"), part("model", "m"), part("language", "de")
    )
    assert body.model == "m"
    assert await received(body) == [("model", b"dep-1", None), ("file", sound, "a.wav"), ("language", b"de", None)]


@pytest.mark.parametrize(("name", "param"), [("n[]", "n"), ("n[0]", "n"), ("model[]", "model"), ("url", "url")])
def test_ambiguous_part_is_rejected(name, param):
    assert refusal(part("model", "m"), part(name, "10")).param == param


async def test_content_types_of_files_are_kept():
    body = read(part("model", "m"), part("file", b"x", "Content-Type: audio/wav", file="a.wav"))
    assert b"content-type: audio/wav\r\n" in body.for_model("dep")


async def test_lists_keep_their_order():
    body = read(
        part("model", "m"), part("timestamp_granularities[]", "word"), part("timestamp_granularities[]", "segment")
    )
    assert (await received(body))[1:] == [
        ("timestamp_granularities[]", b"word", None),
        ("timestamp_granularities[]", b"segment", None),
    ]


async def test_content_that_looks_like_a_boundary_stays_content():
    evil = b'--XYZ2\r\nContent-Disposition: form-data; name="model"\r\n\r\nother\r\n'
    body = read(part("model", "m"), part("file", evil, file="a"))
    assert (await received(body))[1:] == [("file", evil, "a")]


def test_two_models_are_rejected():
    assert refusal(part("model", "a"), part("model", "b")).param == "model"


@pytest.mark.parametrize(
    "name",
    [
        "model[]",
        "model[0]",
        'mo\\"del',
        "mo\\\\del",
        "model\x00",
        "mo\x7fdel",
        "model\u200b",
        "model\u2028",
    ],
)
async def test_other_spelling_of_model_is_rejected(name):
    assert refusal(part("model", "m"), part(name, "other"))


def test_file_cannot_be_the_model():
    assert refusal(part("model", "m"), part("model", "other", file="x")).param == "model"


@pytest.mark.parametrize(
    "name",
    [
        "api_base",
        "api_base[]",
        "api_base[0]",
        "litellm_params[api_base]",
        'api\\"_base',
        "api\\\\_base",
        "\x01api_base",
        "api_base\x00",
        "litellm_credential_name",
        "user_config",
    ],
)
@pytest.mark.parametrize("file", [None, "x.txt"])
def test_authority_field_is_rejected_in_every_spelling(name, file):
    refusal(part("model", "m"), part(name, "http://evil.example", file=file))


@pytest.mark.parametrize(
    "name",
    [
        "metadata",
        "metadata[tags]",
        "metadata[]",
        "tags",
        "tags[]",
        "fallbacks",
        "timeout",
        "litellm_metadata",
        "litellm_metadata[a]",
        "litellm_session_id",
    ],
)
async def test_gateway_fields_and_metadata_are_removed_from_forms(name):
    body = read(part("model", "m"), part(name, '{"guardrails": []}'), part("language", "de"))
    assert [n for n, _, _ in await received(body)] == ["model", "language"]


async def test_file_name_cannot_inject_parts_or_headers():
    body = read(part("model", "m"), part("file", b"x", file='a\\"; name=\\"model'))
    [_, (name, content, _)] = await received(body)
    assert (name, content) == ("file", b"x")


async def test_second_disposition_does_not_rename_a_part():
    twice = part("language", "de", 'Content-Disposition: form-data; name="api_base"')
    try:
        body = read(part("model", "m"), twice)
    except ApiError as error:
        refused = error.status
    else:
        refused = None
        assert [n for n, _, _ in await received(body)] == ["model", "language"]
    assert refused in (None, 400)


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        (b"", "multipart/form-data; boundary=XYZ"),
        (b"--XYZ\r\n", "multipart/form-data; boundary=XYZ"),
        (b"no form at all", "multipart/form-data; boundary=XYZ"),
        (form(part("model", "m"))[0], "multipart/form-data"),
        (form(part("model", "m"))[0], "multipart/form-data; boundary="),
        (form(part("model", "m"))[0], "multipart/form-data; boundary=OTHER"),
        (form(part("language", "de"))[0], "multipart/form-data; boundary=XYZ"),
        (form(part("model", ""))[0], "multipart/form-data; boundary=XYZ"),
        (form(b"X-Nothing: 1\r\n\r\nm")[0], "multipart/form-data; boundary=XYZ"),
        (form(part("model", "m", "Content-Transfer-Encoding: nonsense"))[0], "multipart/form-data; boundary=XYZ"),
        (form(part("model", b"\xff\xfe"))[0][:40], "multipart/form-data; boundary=XYZ"),
        (b'{"model": "m"}', "multipart/form-data; boundary=XYZ"),
    ],
)
def test_malformed_form_is_rejected(raw, content_type):
    with pytest.raises(ApiError) as caught:
        read_body(AUDIO, raw, content_type)
    assert caught.value.status == 400


def test_truncated_form_is_rejected():
    raw, content_type = form(part("model", "m"), part("file", b"x" * 1000, file="a.wav"))
    for cut in (len(raw) - 5, len(raw) - 500, len(raw) - 1020):
        with pytest.raises(ApiError):
            read_body(AUDIO, raw[:cut], content_type)


def test_large_file_stays_in_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "absent"))
    raw, content_type = form(part("model", "m"), part("file", b"x" * 3_000_000, file="a.wav"))
    assert len(read_body(AUDIO, raw, content_type).for_model("d")) > 3_000_000


names = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12) | st.sampled_from(
    ["model", "api_base", "metadata", "mod\x00el", 'model"', "api_base[]", "user\\config", "user_config"]
)


@given(st.lists(st.tuples(names, st.binary(max_size=20), st.none() | names), max_size=4))
async def test_any_accepted_form_has_one_model_and_no_authority_field_for_litellm(fields):
    raw, content_type = form(
        part("model", "m"), *(part(name.replace('"', '\\"'), value, file=file) for name, value, file in fields)
    )
    try:
        body = read_body(AUDIO, raw, content_type)
    except ApiError as error:
        outcome = error.status
    else:
        outcome = 200
        seen = await received(body)
        assert [value for name, value, _ in seen if name.split("[")[0] == "model"] == [b"dep-1"]
        assert not forbidden(name.split("[")[0] for name, _, _ in seen)
        assert "metadata" not in [name.split("[")[0] for name, _, _ in seen]
    assert outcome in (200, 400)


@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                b"--XYZ",
                b"--",
                b"\r\n",
                b"\n",
                b"Content-Disposition: form-data",
                b'; name="model"',
                b'; name="a"',
                b'; filename="f"',
                b":",
                b"m",
                b"\x00",
                b"Content-Transfer-Encoding: base64",
                b"=?",
            ]
        ),
        max_size=20,
    ).map(b"".join)
)
def test_any_bytes_are_a_form_or_a_400(raw):
    try:
        body = read_body(AUDIO, raw, "multipart/form-data; boundary=XYZ")
    except ApiError as error:
        outcome = error.status
    else:
        outcome = 200
        assert body.model
    assert outcome in (200, 400)
