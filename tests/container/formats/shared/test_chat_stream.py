"""A stream is forwarded byte for byte except for the model name, and its usage, errors and end are noticed."""

import itertools

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.formats.shared.chat_stream import Alike, EventStream
from container.formats.shared.events import MAX_EVENT_BYTES, OversizedEvent
from container.routing.health import Outcome
from tests.container.formats.shared.streams import (
    OURS,
    PIECE,
    STREAMS,
    TRICKY,
    chunk,
    passed_on,
    recorded,
    rewritten,
    whole,
)


@pytest.mark.parametrize("drop_usage", [False, True])
@pytest.mark.parametrize("name", STREAMS)
def test_every_split_position_gives_the_same_bytes(name, drop_usage):
    sent = b"".join(STREAMS[name])
    wanted = whole(name, drop_usage=drop_usage)
    for cut in range(len(sent) + 1):
        assert passed_on([sent[:cut], sent[cut:]], drop_usage=drop_usage) == wanted, cut


@pytest.mark.parametrize("name", STREAMS)
def test_single_bytes_give_the_same_bytes(name):
    sent = b"".join(STREAMS[name])
    pieces = [sent[i : i + 1] for i in range(len(sent))]
    assert passed_on(pieces, drop_usage=True) == whole(name, drop_usage=True)


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(0, 3000), max_size=8), st.booleans())
def test_any_pieces_give_the_same_bytes(name, cuts, drop_usage):
    sent = b"".join(STREAMS[name])
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    pieces = [sent[a:b] for a, b in itertools.pairwise(edges)]
    assert passed_on(pieces, drop_usage=drop_usage) == whole(name, drop_usage=drop_usage)


@given(st.text(max_size=60), st.integers(1, 40))
def test_any_content_is_preserved(text, size):
    events = recorded(text=text)
    sent = b"".join(events)
    pieces = [sent[i : i + size] for i in range(0, len(sent), size)]
    assert passed_on(pieces) == rewritten(events, drop_usage=False)


@pytest.mark.parametrize("name", STREAMS)
def test_complete_event_is_not_held_back(name):
    stream, out = EventStream(OURS, drop_usage=False), b""
    for index, event in enumerate(STREAMS[name]):
        out += stream.feed(event)
        assert out == rewritten(STREAMS[name][: index + 1], drop_usage=False)


def test_incomplete_event_is_held_back():
    [first, second, *_] = recorded()
    stream = EventStream(OURS, drop_usage=False)
    assert stream.feed(first + second[:-1]) == rewritten([first], drop_usage=False)
    assert stream.feed(second[-1:]) == rewritten([second], drop_usage=False)


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"7", b'"text"', b'["model"]', b": x"])
def test_data_that_is_not_an_object_does_not_reach_clients(data):
    first, second, *rest = STREAMS["openai"]
    event = b"data: " + data + b"\n\n" if data != b": x" else b"data:\n: x\n\n"
    assert passed_on([event, first, event, second, event, *rest]) == whole("openai", drop_usage=False)


def test_nothing_follows_the_end():
    events = STREAMS["openai"]
    assert passed_on([*events, b"data: [DONE]\n\n", *events]) == whole("openai", drop_usage=False)
    assert passed_on([b"".join(events) * 2]) == whole("openai", drop_usage=False)


# Model name


@pytest.mark.parametrize("colon", [b":", b": ", b" : "])
def test_spaces_around_the_name_are_kept(colon):
    event = b'data: {"model"' + colon + b'"theirs","choices":[]}\n\n'
    assert passed_on([event]) == b'data: {"model"' + colon + orjson.dumps(OURS) + b',"choices":[]}\n\n'


def test_name_that_changes_in_mid_stream_is_always_replaced():
    events = [b'data: {"model":"%s","choices":[{}]}\n\n' % name for name in (b"", b"a", b"b", b"b", b"a\\u00fc", b"")]
    ours = b'data: {"model":%s,"choices":[{}]}\n\n' % orjson.dumps(OURS)
    assert passed_on(events) == ours * 6
    assert passed_on([b"".join(events)]) == ours * 6


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n',
        b'data: {"model":null,"choices":[]}\n\n',
        b'data: {"choices":[{"delta":{"content":"model"}}]}\n\n',
        b"data: [DONE]\n\n",
        b": comment\n\n",
        b"\n\n",
        b"event: ping\n\n",
    ],
)
def test_event_without_a_model_is_unchanged(event):
    assert passed_on([event]) == event


def test_second_name_in_a_similar_event_is_also_replaced():
    stream = EventStream("ours", drop_usage=False)
    stream.feed(PIECE)
    nested = chunk(b'},"x":{"model":"theirs"}}]}')
    assert stream.feed(PIECE + nested).count(b'"model":"ours"') == 3
    other = b'data: {"model":"theirs","by":{"model":"another"},"choices":[{"delta":{}}]}\n\n'
    for _ in range(2):
        assert stream.feed(other).count(b'"model":"ours"') == 2


def test_names_of_different_streams_do_not_mix():
    events = recorded()
    assert passed_on(events) == passed_on(events)
    other = EventStream("other", drop_usage=False)
    assert orjson.dumps(OURS) not in b"".join(other.feed(event) for event in events)


# What is noticed: usage, errors and how a stream ended.

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


@pytest.mark.parametrize(
    ("last", "noticed"),
    [
        (chunk(b'},"finish_reason":"stop"}]}'), {"finished": True}),
        (chunk(b'}}],"usage":{"prompt_tokens":3}}'), {"usage": {"prompt_tokens": 3}}),
        (b'data: {"error":{"message":"no"}}\n\n', {"failed": Outcome("server", message="no")}),
        (b"data: [DONE]\n\n", {"done": True}),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_significant_fields_are_noticed_after_similar_events(last, noticed, together):
    stream = EventStream("ours", drop_usage=False)
    for _ in range(3):
        stream.feed(PIECE)
    for piece in (PIECE + last + PIECE,) if together else (last,):
        stream.feed(piece)
    assert {name: getattr(stream, name) for name in noticed} == noticed


@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b'data: {"error":{"message":"no"}}\n\n'])
def test_nothing_follows_an_end_in_the_same_bytes(end):
    stream = EventStream("ours", drop_usage=False)
    assert stream.feed(PIECE * 3 + end + PIECE * 3).count(b'"content":"a"') == 3


# Usage


@pytest.mark.parametrize(
    "name", ["openai", "crlf", "azure, whose first model is empty", "usage with the finish", "usage in every chunk"]
)
def test_usage_is_extracted(name):
    stream = EventStream(OURS, drop_usage=True)
    for event in STREAMS[name]:
        stream.feed(event)
    assert stream.usage is not None
    assert stream.usage["total_tokens"] == stream.usage["prompt_tokens"] + stream.usage["completion_tokens"] > 0


@pytest.mark.parametrize(
    "choices",
    [b"[]", b'[{"index":0,"delta":{}}]', b'[{"index":0,"delta":{},"finish_reason":null}]'],
    ids=["none", "the engine's, which says nothing", "the same with a null"],
)
def test_usage_chunk_is_dropped_only_when_the_gateway_requested_it(choices):
    chunk = b'data: {"choices":%s,"usage":%s}\n\n' % (choices, orjson.dumps(USAGE))
    assert passed_on([chunk], drop_usage=False) == chunk
    assert passed_on([chunk], drop_usage=True) == b""


@pytest.mark.parametrize(
    "rest",
    [
        b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"total_tokens":3}',
        b'"choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"total_tokens":3}',
        b'"choices":[],"usage":null',
        b'"choices":[], "usage": null',
        b'"choices":[]',
        b'"usage":{"total_tokens":3}',
        b'"choices":[],"usage":"text"',
    ],
)
def test_other_chunks_are_kept(rest):
    chunk = b"data: {" + rest + b"}\n\n"
    assert EventStream(OURS, drop_usage=True).feed(chunk) == chunk


def test_last_usage_counts():
    stream = EventStream(OURS, drop_usage=False)
    for total in (1, 2, 3):
        stream.feed(b'data: {"choices":[{}],"usage":{"total_tokens":%d}}\n\n' % total)
    assert stream.usage == {"total_tokens": 3}


def test_usage_in_a_text_is_ignored():
    stream = EventStream(OURS, drop_usage=True)
    for event in recorded(text=TRICKY, usage=False):
        stream.feed(event)
    assert stream.usage is None


CACHED = [
    {"prompt_cache_hit_tokens": 3, "prompt_cache_miss_tokens": 7},
    {"cached_tokens": 3},
    {"num_cached_tokens": 3},
    {"cache_read_input_tokens": 3},
    {"prompt_cache_hit_tokens": 3, "prompt_tokens_details": {"cached_tokens": 0}},
    {"prompt_cache_hit_tokens": 3, "prompt_tokens_details": None},
]


@pytest.mark.parametrize("said", CACHED)
@pytest.mark.parametrize("choices", [[], [{"index": 0, "delta": {}, "finish_reason": "stop"}]])
def test_cached_tokens_are_reported_in_the_standard_field(said, choices):
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, **said}
    stream = EventStream(OURS, drop_usage=False)
    sent = stream.feed(b"data: " + orjson.dumps({"choices": choices, "usage": usage}) + b"\n\n")
    assert stream.usage is not None
    assert stream.usage["prompt_tokens_details"]["cached_tokens"] == 3
    assert orjson.loads(sent.removeprefix(b"data: ")) == {"choices": choices, "usage": stream.usage}


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}]},
        {"choices": [], "x_groq": {"id": "r", "usage": USAGE}},
        {"choices": None, "usage": USAGE},
        {"choices": [], "usage": None, "x_groq": {"usage": USAGE}},
    ],
    ids=["in the choice", "Groq's", "beside null", "beside Groq's"],
)
def test_usage_is_found_in_any_chunk_and_reported_in_the_standard_place(chunk):
    stream = EventStream(OURS, drop_usage=False)
    sent = stream.feed(CONTENT + b"data: " + orjson.dumps(chunk) + b"\n\n").removeprefix(CONTENT)
    given = orjson.loads(sent.removeprefix(b"data: "))
    assert (stream.usage, given["usage"]) == (USAGE, USAGE)
    assert isinstance(given["choices"], list)


@pytest.mark.parametrize("choices", [None, []])
def test_usage_chunk_without_choices_is_dropped_when_not_requested(choices):
    event = b"data: " + orjson.dumps({"choices": choices, "usage": USAGE}) + b"\n\n"
    assert EventStream(OURS, drop_usage=True).feed(CONTENT + event) == CONTENT


# End of the stream


def after(*events: bytes) -> EventStream:
    stream = EventStream(OURS, drop_usage=True)
    for event in events:
        stream.feed(event)
    stream.end()
    return stream


@pytest.mark.parametrize("name", STREAMS)
def test_complete_stream_is_not_cut_off(name):
    stream = after(*STREAMS[name])
    assert not stream.cut_off
    assert stream.done is (name != "error in mid-stream")
    assert (stream.failed is not None) is (name == "error in mid-stream")


@pytest.mark.parametrize("name", sorted(set(STREAMS) - {"error in mid-stream"}))
def test_truncated_stream_is_cut_off(name):
    assert after(*STREAMS[name][:4]).cut_off
    assert after().cut_off


@pytest.mark.parametrize(
    "done", [b"data: [DONE]\n\n", b"data:[DONE]\r\n\r\n", b"data: [DONE]", b": x\ndata: [DONE]\n\n"]
)
def test_done_is_a_separate_event(done):
    assert after(done).done


@pytest.mark.parametrize(
    "text", [b'{"choices":[{"delta":{"content":"[DONE]"}}]}', b'{"choices":[{"delta":{"content":"data: [DONE]"}}]}']
)
def test_done_in_a_text_is_ignored(text):
    assert not after(b"data: " + text + b"\n\n").done
    assert after(b"data: " + text + b"\n\n").cut_off


def test_finish_reason_also_ends_the_stream():
    chunk = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":%s}]}\n\n'
    assert after(chunk % b'"stop"').finished
    assert not after(chunk % b"null").finished


@pytest.mark.parametrize("reason", [b"null", b'""'])
def test_empty_finish_reason_does_not_end_the_stream(reason):
    event = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":%s}]}\n\n' % reason
    assert not after(event * 2).finished
    assert after(event * 2).cut_off
    assert b'""' not in passed_on([event * 2])


@pytest.mark.parametrize("split", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("events", "reason", "more"),
    [
        ([b'{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x"}}]}'], "stop",
         {"id": "1", "object": "chat.completion.chunk"}),
        ([b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f"}}]}}]}'],
         "tool_calls", {}),
        ([b'{"object":"text_completion","choices":[{"index":0,"text":"x"}]}'], "stop", {"object": "text_completion"}),
    ],
)  # fmt: skip
def test_missing_finish_reason_is_added(events, reason, more, split):
    sent = b"".join(b"data: " + event + b"\r\n\r\n" for event in events) + b": x\ndata: [DONE]\r\n\r\n"
    got = passed_on([sent[i : i + split] for i in range(0, len(sent), split)])
    *_, last, done = [event for event in got.replace(b"\r", b"").split(b"\n\n") if event]
    assert done.endswith(b"data: [DONE]")
    chunk = orjson.loads(last.removeprefix(b"data: "))
    [choice] = chunk["choices"]
    assert choice["finish_reason"] == reason
    assert ("text" in choice) is (more.get("object") == "text_completion")
    assert more.items() <= chunk.items()
    assert chunk["model"] == OURS


def test_last_event_may_lack_its_blank_line():
    stream = EventStream(OURS, drop_usage=False)
    assert stream.feed(b"data: [DONE]\n") == b""
    assert stream.end() == b"data: [DONE]\n\n"
    assert stream.done
    assert stream.end() == b""


def test_incomplete_event_at_the_end_is_dropped():
    [first, second, *_] = recorded()
    assert passed_on([first, second[: len(second) // 2]]) == rewritten([first], drop_usage=False)


def test_endless_event_is_abandoned():
    stream = EventStream(OURS, drop_usage=False)
    piece = b"x" * (1024 * 1024)
    for _ in range(MAX_EVENT_BYTES // len(piece)):
        assert stream.feed(piece) == b""
    with pytest.raises(OversizedEvent):
        stream.feed(piece)


# Errors


CONTENT = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'


@pytest.mark.parametrize("before", [b"", b": ping\n\n", ROLE], ids=["first", "after a comment", "after a greeting"])
@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (b'data: {"error":{"message":"x","code":502},"choices":[{"delta":{},"finish_reason":"error"}]}', "server"),
        (b'data: {"error":{"message":"x"}}', "server"),
        (b'data: {"error":"x"}', "server"),
        (b'data: {"error":["x"]}', "server"),
        (b'data: [{"error":{"message":"x","code":429}}]', "rate_limit"),
        (b'data: {"error":{"message":"x","code":429},"choices":[]}', "rate_limit"),
        (b'data: {"object":"error","message":"x","type":"BadRequestError","code":400}', "caller"),
        (b'data: {"choices":null,"base_resp":{"status_code":1008,"status_msg":"x"}}', "server"),
        (b'data: {"choices":null,"base_resp":{"status_code":1026,"status_msg":"x"}}', "content_policy"),
        (b'data: {"choices":[],"base_resp":{"status_code":1002,"status_msg":"x"}}', "rate_limit"),
        (b'data: {"detail":"x"}', "server"),
        (b'data: {"code":500,"msg":"x"}', "server"),
        (b'data: {"choices":[{"delta":{},"finish_reason":"error"}]}', "server"),
        (b'data: {"choices":[{"delta":{},"finish_reason":"abort"}]}', "server"),
        (b'data: {"choices":[{"delta":{},"finish_reason":"stop","error":{"code":429,"message":"x"}}]}', "rate_limit"),
        (b'event: error\ndata: {"message":"x"}', "server"),
        (b"event: error\ndata: x y", "server"),
        (b'event: error\ndata: "x"', "server"),
        (b"data: Internal Server Error", "server"),
        (b"data: This model's maximum context length is 9 tokens", "context_window"),
        (b'data: {"error":{"message":null,"code":null}}', "server"),
        (b'data: {"choices":[{"delta":{},"finish_reason":"FAILED"}]}', "server"),
        (b'data: {"choices":[{"delta":{},"finish_reason":"function_call_filter: MALFORMED_FUNCTION_CALL"}]}', "server"),
        (b'data: {"Error":{"Code":"Throttling","Message":"x"}}', "server"),
        (b'data: {"fault":{"faultstring":"x"}}', "server"),
        (b'data: {"status":500,"title":"x"}', "server"),
        (b'data: {"error":{"message":"maximum context length","type":"invalid_request_error"}}', "context_window"),
        (b'data: {"error":{"message":"x","type":"overloaded_error"}}', "server"),
    ],
)  # fmt: skip
def test_error_before_the_content_allows_a_fallback(before, event, kind):
    stream = EventStream(OURS, drop_usage=False)
    passed = stream.feed(before)
    assert stream.begins(passed) is False
    assert stream.feed(event + b"\n\n") == b""
    found = stream.begins(b"")
    assert isinstance(found, Outcome)
    assert found.kind == kind
    assert stream.feed(CONTENT) + stream.end() == b""


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"error":{"message":"sk-abcdefgh12345678"},"choices":[{"delta":{},"finish_reason":"error"}]}',
        b'data: {"error":"x"}',
        b'data: {"choices":null,"base_resp":{"status_code":1013,"status_msg":"x"}}',
        b'data: {"object":"error","message":"x"}',
        b'data: {"detail":[{"loc":["body"],"msg":"x"}]}',
        b'data: {"code":"1234","msg":"x"}',
        b'data: {"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}',
        b'data: {"choices":[{"index":0,"delta":{"content":""},"finish_reason":"network_error"}]}',
        b"event: error\ndata: x",
        b"data: Internal Server Error",
        b'data: {"error":{"message":null}}',
        b'data: {"Error":{"Code":"Throttling","Message":"x"}}',
    ],
)
@pytest.mark.parametrize("pieces", [1, 7, 10_000], ids=["byte by byte", "in pieces", "together"])
def test_error_in_mid_stream_ends_it_with_an_error_event(event, pieces):
    sent = ROLE + CONTENT + event + b"\n\n" + CONTENT + b"data: [DONE]\n\n"
    stream = EventStream(OURS, drop_usage=False)
    got = b"".join(stream.feed(sent[i : i + pieces]) for i in range(0, len(sent), pieces)) + stream.end()
    assert stream.begins(got) is True
    assert stream.failed is not None
    assert not stream.cut_off
    assert got.startswith(ROLE + CONTENT)
    last = orjson.loads(got.removeprefix(ROLE + CONTENT).removeprefix(b"data: "))
    assert last["error"]["type"] == "upstream_error"
    assert "sk-abc" not in last["error"]["message"]


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"choices":[{"delta":{"content":"an error, \\"error\\": data: {}"}}]}\n\n',
        b'data: {"error":null,"choices":[{"delta":{"content":"x"}}]}\n\n',
        b'data: {"error":{},"choices":[{"delta":{"content":"x"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"x"}}],"base_resp":{"status_code":0,"status_msg":""}}\n\n',
        b'data: {"choices":[],"prompt_filter_results":[]}\n\n',
        b'data: {"id":"1","object":"chat.completion.chunk"}\n\n',
    ],
)
def test_text_about_errors_is_not_an_error(event):
    stream = EventStream(OURS, drop_usage=False)
    assert stream.feed(CONTENT + event) == CONTENT + event
    assert stream.failed is None


@pytest.mark.parametrize("choices", [b"[null]", b'"x"', b"{}", b"null", b"[{}]", b"[]"])
def test_invalid_choices_do_not_start_the_response(choices):
    stream = EventStream(OURS, drop_usage=False)
    assert stream.begins(stream.feed(b'data: {"choices":' + choices + b"}\n\n")) is False
    assert stream.begins(stream.feed(b"data: {}\n\n")) is False


def test_empty_error_beside_content_does_not_reach_clients():
    stream = EventStream(OURS, drop_usage=False)
    event = b'data: {"error":{"message":null},"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    assert stream.feed(CONTENT + event) == CONTENT * 2
    assert stream.failed is None


def test_content_starts_the_response():
    stream = EventStream(OURS, drop_usage=False)
    for event in (b": ping\n\n", ROLE, b'data: {"choices":[],"prompt_filter_results":[]}\n\n'):
        assert stream.begins(stream.feed(event)) is False
    assert stream.begins(stream.feed(CONTENT)) is True


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f"}}]}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"reasoning":"hm"}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        b'data: {"choices":[{"index":0,"text":"x"}]}\n\n',
    ],
)
def test_calls_reasoning_and_an_end_start_the_response(event):
    stream = EventStream(OURS, drop_usage=False)
    assert stream.begins(stream.feed(event)) is True


# Events that differ from a parsed event by a single string.

THEIRS, RENAMED = b'"model":"theirs"', b'"model":"ours"'
OPENING = b'data: {"id":"1","model":"theirs","choices":[{"index":0,"delta":{'


def event(text: str, *, field: str = "content", padding: str = "", end: bytes = b"\n\n") -> bytes:
    padded = b',"obfuscation":"' + padding.encode() + b'"' if padding else b""
    said = b'"' + field.encode() + b'":' + orjson.dumps(text)
    return OPENING + said + b'},"finish_reason":null}]' + padded + b"}" + end


def knowing(*events: bytes) -> Alike:
    alike = Alike()
    for known in events:
        alike.remember_opening(known, THEIRS, RENAMED)
        alike.learn(known.removeprefix(OPENING))
    return alike


def taken(alike: Alike, data: bytes) -> tuple[int, bytes]:
    passed: list[bytes] = []
    at = alike.take(data, 0, passed)
    return at, b"".join(passed)


@pytest.mark.parametrize("text", ["", "b", 'say "x"', "\\", '\\"', "a\\", 'x"},"finish_reason":"stop"}]}\n\n', "ü🙂\n"])
@pytest.mark.parametrize("padding", ["", "aB3"])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_event_with_another_text_passes_with_our_name(text, padding, end):
    alike = knowing(event("a", padding=padding, end=end))
    other = event(text, padding=padding and padding * 3, end=end)
    assert taken(alike, other * 3) == (len(other) * 3, other.replace(THEIRS, RENAMED) * 3)


@pytest.mark.parametrize(
    "other",
    [
        event("b").replace(b"null", b'"stop"'),
        event("b").replace(b'"id":"1"', b'"id":"2"'),
        event("b").replace(b'"index":0', b'"index":1'),
        event("b", field="reasoning_content"),
        event("b", padding="x"),
        event("b").replace(b'"content":"b"', b'"content":null'),
        event("b").replace(b'"content":"b"', b'"content":"b","role":"x"'),
        event("b")[:-1] + b"data: x\n\n",
        b": ping\n\n",
        b"data: [DONE]\n\n",
    ],
)
def test_other_event_does_not_pass_but_those_before_it_do(other):
    alike, first = knowing(event("a")), event("x")
    assert taken(alike, first + other + first) == (len(first), first.replace(THEIRS, RENAMED))


def test_padding_passes_only_at_the_end_of_an_event():
    alike, other = knowing(event("a", padding="x")), event("a", padding="x")[:-3] + b',"usage":{}}\n\n'
    assert taken(alike, other) == (0, b"")


def test_several_kinds_of_events_are_remembered_for_a_while():
    events = event("a") + event("b", field="reasoning_content")
    alike = knowing(event("x"), event("y", field="reasoning_content"))
    assert taken(alike, events)[0] == len(events)
    alike.forget()
    assert taken(alike, events) == (0, b"")


def test_new_opening_replaces_the_previous_one():
    alike = knowing(event("a"))
    other = event("a").replace(b'"id":"1"', b'"id":"2"')
    alike.remember_opening(other, THEIRS, RENAMED)
    assert alike.opening == other[: other.index(b'"content"')]
    assert taken(alike, event("b")) == (0, b"")


@pytest.mark.parametrize(
    "other",
    [b": ping\n\n", b'data: {"usage":{"x":1},' + THEIRS + b"}\n\n", b'data: {"error":"x",' + THEIRS + b"}\n\n"],
)
def test_opening_with_a_significant_field_is_not_remembered(other):
    alike = Alike()
    alike.remember_opening(other, THEIRS, RENAMED)
    assert alike.opening == b""
