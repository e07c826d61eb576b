"""The protocol between Worker, objects and containers: messages survive a round trip, and versions are compatible.

tests/edge/protocol/v<version>/ holds each message as that version writes it. After raising PROTOCOL_VERSION run:

    .venv/bin/python -m tests.edge.test_protocol
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from container.server.http import MAX_HEADER_BYTES_OF_THE_EDGE
from worker.core import protocol
from worker.core.ledger import decision, keys
from worker.core.ledger.settle import Report
from worker.core.protocol import CarriedReport, EdgeGrant, GivenConfiguration, JournalPage, JournalPoll
from worker.core.values.claims import NO_CLAIMS, Claims
from worker.core.values.fields import MAX_ALIASES_BYTES, MAX_MODELS_BYTES

HERE = Path(__file__).parent / "protocol"
REQUEST = {
    "id": "0123456789abcdef0123456789abcdef",
    "request_id": "the client's name",
    "secret_hash": "ab" * 32,
    "model": "gpt-4o",
    "endpoint": "chat_completions",
    "amount": 1_234_567,
    "tokens": 4321,
    "unpriced": "",
}
LOWERED = {"output_limit": 2000, "amount": 1_000_000}
STEPS = [[1024, 900_000, 2000], [4096, 1_234_567, 4321]]
RESULT = {"ok": True, "limited": True, "headers": [["x-ratelimit-limit-requests", "10"]]}
REPORT = Report(REQUEST["id"], "start", 1234, "gpt-4o", "deployment", 200, 321, 11, 7, 5, 3, 1)
# The fixture's name: the message, and its decoder.
MESSAGES: dict[str, tuple[str, Callable[[str], Any], Any]] = {}


def _add(name: str, text: str, decode: Callable[[str], Any], decoded: Any) -> None:
    MESSAGES[name] = text, decode, decoded


_GRANT = protocol.grant_of(REQUEST, RESULT, 4096, 7)
_add("grant", _GRANT.encode(), EdgeGrant.decode, _GRANT)
_LOWERED = protocol.grant_of(REQUEST, {**RESULT, **LOWERED}, None, 7)
_add("grant_with_a_lowered_limit", _LOWERED.encode(), EdgeGrant.decode, _LOWERED)
_PASSING = protocol.grant_of(REQUEST, {**RESULT, "exhausted": ["provider:openai"]}, 4096, 7)
_add("grant_that_passes_over", _PASSING.encode(), EdgeGrant.decode, _PASSING)
_ALIASED = protocol.grant_of({**REQUEST, "named": "größe"}, RESULT, 4096, 7)
_add("grant_with_an_alias", _ALIASED.encode(), EdgeGrant.decode, _ALIASED)
_ALIASES = EdgeGrant(models='["gpt-4o", "fast"]', owner="ab", key_id="id", aliases={"fast": "gpt-4o-mini"})
_add("grant_of_aliases", _ALIASES.encode(), EdgeGrant.decode, _ALIASES)
_FREE = protocol.grant_of({**REQUEST, "secret_hash": None, "amount": None}, {**RESULT, "limited": False}, 4096)
_add("grant_of_the_master_key", _FREE.encode(), EdgeGrant.decode, _FREE)
_NAMED = protocol.grant_of(REQUEST, {**RESULT, "key_alias": "größe"}, 4096, 7)
_add("grant_of_a_named_key", _NAMED.encode(), EdgeGrant.decode, _NAMED)
_MODELS = EdgeGrant(models='["gpt-4o", "claude-*"]')
_add("grant_of_models", _MODELS.encode(), EdgeGrant.decode, _MODELS)
_add("grant_of_nothing", EdgeGrant().encode(), EdgeGrant.decode, EdgeGrant())
_ADMISSION = REQUEST, 4096, Claims('["a"]'), "configuration", [], ()
_LOWERABLE = REQUEST, None, NO_CLAIMS, "configuration", STEPS, ()
_CLAIMED = REQUEST, 4096, Claims('["a"]', "größe"), "configuration", [], ()
_PROVIDERS = REQUEST, 4096, NO_CLAIMS, "configuration", [], (("provider:openai",), ())
_add("admission_with_candidates", protocol.encode_admission(*_PROVIDERS), protocol.decode_admission, _PROVIDERS)
_add("admission_with_an_end_user", protocol.encode_admission(*_CLAIMED), protocol.decode_admission, _CLAIMED)
_add("admission_with_steps", protocol.encode_admission(*_LOWERABLE), protocol.decode_admission, _LOWERABLE)
_add("admission", protocol.encode_admission(*_ADMISSION), protocol.decode_admission, _ADMISSION)
_REFUSAL = decision.rate_limited("Limit of 3 requests a minute reached.", 12, [["x-should-retry", "false"]])
_OF_AN_ALIAS = {**REQUEST, "named": "fast"}, 4096, NO_CLAIMS, "configuration", [], ()
_add("admission_of_an_alias", protocol.encode_admission(*_OF_AN_ALIAS), protocol.decode_admission, _OF_AN_ALIAS)
_add("refusal", protocol.encode_refusal(_REFUSAL), protocol.decode_refusal, _REFUSAL)
_CARRIED = CarriedReport(9, 4, REPORT.fields)
_add("carried_report", _CARRIED.encode(), CarriedReport.decode, _CARRIED)
_TRIED = REPORT._replace(attempts='[{"model": "gpt-4o", "deployment": "d", "error": "timeout"}]')
_CARRIED_ATTEMPTS = CarriedReport(9, 4, _TRIED.fields)
_add("carried_report_with_attempts", _CARRIED_ATTEMPTS.encode(), CarriedReport.decode, _CARRIED_ATTEMPTS)
_POLL = JournalPoll(3, 20.0, ["doubtful"])
_add("journal_poll", _POLL.encode(), JournalPoll.decode, _POLL)
_PAGE = JournalPage([[4, REPORT.fields], [5, REPORT.fields]], ["long"], 2, 2)
_add("journal_page", _PAGE.encode(), JournalPage.decode, _PAGE)
_CONFIGURATION = GivenConfiguration("name", "hash", "config.yaml", '{"model_list": []}', ["A", "B"], {"A": "ä"})
_add("configuration", _CONFIGURATION.encode(), GivenConfiguration.decode, _CONFIGURATION)


def fixture(name: str, version: int = protocol.PROTOCOL_VERSION) -> Path:
    return HERE / f"v{version}" / f"{name}.json"


def versions() -> list[int]:
    return sorted(int(path.name[1:]) for path in HERE.glob("v*"))


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_encoded_as_recorded(name: str) -> None:
    assert json.loads(MESSAGES[name][0]) == json.loads(fixture(name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("version", "name"), [(v, p.stem) for v in versions() for p in sorted((HERE / f"v{v}").glob("*"))]
)
def test_a_recorded_message_is_decoded(version: int, name: str) -> None:
    _, decode, decoded = MESSAGES[name]
    assert decode(fixture(name, version).read_text(encoding="utf-8")) == decoded


def test_every_message_of_this_version_is_recorded() -> None:
    assert {path.stem for path in fixture("").parent.glob("*.json")} == set(MESSAGES)


def test_a_message_in_a_header_is_ascii() -> None:
    report = CarriedReport(1, 1, [*REPORT._replace(deployment="größe", answered_by="模型")])
    grant = EdgeGrant("id", models='["größe"]', owner="ü")
    for text in (
        report.encode(),
        grant.encode(),
        protocol.encode_admission({**REQUEST, "model": "größe"}, None, Claims(end_user="日本"), ""),
    ):
        assert text.isascii()
        assert "\n" not in text


def test_the_longest_lists_of_models_and_aliases_fit_into_a_header() -> None:
    models = json.dumps([f"{number:0252}" for number in range(MAX_MODELS_BYTES // 256)])
    aliases = json.dumps({f"{number:0247}": "m" for number in range(MAX_ALIASES_BYTES // 256)})
    assert MAX_MODELS_BYTES - 256 < len(models) <= MAX_MODELS_BYTES
    assert MAX_ALIASES_BYTES - 512 < len(aliases) <= MAX_ALIASES_BYTES
    grant = EdgeGrant(models=keys.with_aliases(models, aliases), owner="ab" * 32, aliases=keys.aliases(aliases))
    assert len(grant.encode()) < MAX_HEADER_BYTES_OF_THE_EDGE * 3 // 4


PATIENTLY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXT = st.text(max_size=8)
TEXTS = st.lists(TEXT, max_size=3)
NUMBER = st.integers(0, 2**53)
OUTPUT_STEPS = st.lists(st.lists(NUMBER, min_size=3, max_size=3), max_size=3)
FIELDS = st.lists(st.one_of(TEXT, NUMBER), max_size=12)


@PATIENTLY
@given(
    st.builds(
        EdgeGrant,
        st.text(min_size=1, max_size=8),
        st.none() | NUMBER,
        st.none() | NUMBER,
        st.booleans(),
        TEXTS.map(json.dumps),
        st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
        TEXT,
        st.none() | NUMBER,
        TEXT,
        TEXT,
        st.none() | st.integers(1, 2**53),
        TEXTS.map(tuple),
        st.dictionaries(TEXT, TEXT, max_size=3),
    )
)
def test_any_grant_survives_a_round_trip(grant: EdgeGrant) -> None:
    assert EdgeGrant.decode(grant.encode()) == grant


@PATIENTLY
@given(
    st.one_of(
        st.builds(CarriedReport, NUMBER, NUMBER, FIELDS),
        st.builds(JournalPoll, NUMBER, st.floats(0, 60), TEXTS),
        st.builds(
            JournalPage,
            st.lists(st.tuples(NUMBER, FIELDS).map(list), max_size=3),
            TEXTS,
            NUMBER,
            NUMBER,
        ),
        st.builds(
            GivenConfiguration,
            TEXT,
            TEXT,
            TEXT,
            TEXT,
            TEXTS,
            st.dictionaries(TEXT, TEXT, max_size=3),
        ),
    )
)
def test_any_other_message_survives_a_round_trip(message: Any) -> None:
    assert type(message).decode(message.encode()) == message


@PATIENTLY
@given(
    st.dictionaries(TEXT, st.one_of(TEXT, st.none() | NUMBER), max_size=4),
    st.none() | NUMBER,
    st.builds(Claims, TEXT, TEXT),
    TEXT,
    OUTPUT_STEPS,
    st.lists(TEXTS.map(tuple), max_size=3).map(tuple),
)
def test_any_admission_request_survives_a_round_trip(
    request: dict[str, Any], limit: int | None, claims: Claims, name: str, steps: list[list[int]], candidates: Any
) -> None:
    text = protocol.encode_admission(request, limit, claims, name, steps, candidates)
    assert protocol.decode_admission(text) == (request, limit, claims, name, steps, candidates)


def test_an_older_workers_admission_request_is_decoded() -> None:
    text = json.dumps({"ask": REQUEST, "add_limit": None})
    assert protocol.decode_admission(text) == (REQUEST, None, NO_CLAIMS, None, [], ())


@pytest.mark.parametrize("steps", [7, [7], [[1, 2]], [[1, 2, "3"]], None])
def test_malformed_steps_are_refused(steps: Any) -> None:
    text = json.dumps({"ask": REQUEST, "add_limit": None, "steps": steps})
    with pytest.raises((ValueError, TypeError)):
        protocol.decode_admission(text)


@pytest.mark.parametrize("candidates", [7, [7], [[7]], None, {"a": 1}])
def test_malformed_candidates_are_refused(candidates: Any) -> None:
    text = json.dumps({"ask": REQUEST, "add_limit": None, "candidates": candidates})
    with pytest.raises(TypeError):
        protocol.decode_admission(text)


def test_a_container_of_the_version_before_refuses_a_lowered_grant() -> None:
    """It would send the limit that the request asks for. It only knows catalogs by their hash."""
    assert protocol.catalog_of("hash", _GRANT) == "hash"
    assert protocol.catalog_of("hash", _LOWERED) != "hash"
    assert protocol.catalog_of("hash", _PASSING) not in ("hash", protocol.catalog_of("hash", _LOWERED))
    assert protocol.catalog_of("hash", _ALIASED).removeprefix("hash") not in ("", protocol.catalog_of("", _PASSING))
    assert protocol.catalog_of("hash", _ALIASES) == "hash"  # without a reservation
    assert _LOWERED.amount == LOWERED["amount"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "7", '"text"', "[7]", '{"models": 7}', '{"reservation": 7}', '{"ack": "1"}', '{"aliases": [7]}'],
)
@pytest.mark.parametrize(
    "decode",
    [EdgeGrant.decode, CarriedReport.decode, JournalPoll.decode, JournalPage.decode, GivenConfiguration.decode],
)
def test_a_malformed_message_is_refused(decode: Callable[[str], Any], text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        decode(text)


if __name__ == "__main__":
    fixture("").parent.mkdir(parents=True, exist_ok=True)
    for name, (text, _, _) in MESSAGES.items():
        fixture(name).write_text(json.dumps(json.loads(text), indent=2) + "\n", encoding="utf-8")
