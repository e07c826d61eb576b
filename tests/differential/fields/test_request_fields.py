"""Sends each field of OpenAI's chat API and Anthropic's Messages API to each provider, through LiteLLM and through us.

Every difference is either fixed or listed in `accepted.py` with its reason.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from anthropic.types import message_create_params as anthropic_params
from anthropic.types.beta import message_create_params as anthropic_beta_params
from openai.types.chat import completion_create_params as openai_params

from tests.processes import ROOT

from . import chat_values, histories, messages_values
from .accepted import ACCEPTED
from .calls import LiteLLM, Ours, litellm_without_network
from .compare import Difference, differences
from .targets import TARGETS

# LiteLLM handles thousands of requests here and takes seconds to load.
pytestmark = pytest.mark.timeout(900)

Asked = tuple[str, str, Mapping[str, Any]]  # endpoint, case, body


def _alone() -> Iterator[Asked]:
    for case, fields in chat_values.ALONE.items():
        yield "chat_completions", case, {**chat_values.MESSAGES, **fields}
    for case, fields in messages_values.ALONE.items():
        yield "messages", case, {**messages_values.MESSAGES, **fields}


def _pairs() -> Iterator[Asked]:
    for one, other in chat_values.PAIRS:
        both = {**chat_values.ALONE[one], **chat_values.ALONE[other]}
        yield "chat_completions", f"{one} + {other}", {**chat_values.MESSAGES, **both}
    for one, other in messages_values.PAIRS:
        both = {**messages_values.ALONE[one], **messages_values.ALONE[other]}
        yield "messages", f"{one} + {other}", {**messages_values.MESSAGES, **both}


def _histories() -> Iterator[Asked]:
    for case, body in histories.CHAT.items():
        yield "chat_completions", f"history: {case}", body
    for case, body in histories.MESSAGES.items():
        yield "messages", f"history: {case}", {**messages_values.MESSAGES, **body}


def _cases(target: str, *, drop: bool) -> Iterator[Asked]:
    """Single fields with and without `drop_params`, half of the pairs with and the others without, histories with."""
    yield from _alone()
    chosen = random.Random(target)
    yield from (asked for asked in _pairs() if chosen.choice((True, False)) == drop)
    if drop:
        yield from _histories()


class Comparison:
    """Caches the differences of each target."""

    def __init__(self, litellm: LiteLLM, ours: Ours) -> None:
        self._litellm = litellm
        self._ours = ours
        self._found: dict[str, list[Difference]] = {}

    def of(self, target: str) -> list[Difference]:
        if target not in self._found:
            self._found[target] = [d for drop in (False, True) for d in self._compared(target, drop=drop)]
        return self._found[target]

    def _compared(self, target: str, *, drop: bool) -> Iterator[Difference]:
        """For anything but the minimal request, and for pairs, only new differences."""
        seen: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for endpoint, case, body in _cases(target, drop=drop):
            found = differences(
                self._litellm.asked(target, endpoint, body, drop=drop),
                self._ours.asked(target, endpoint, body, drop=drop),
            )
            known = set[tuple[str, str]]()
            for part in ("nothing", *case.split(" + "), *(body if case.startswith("history") else ())):
                known |= seen.get((endpoint, part), set())
            seen.setdefault((endpoint, case), set()).update((kind, field) for kind, field, _ in found)
            yield from (
                Difference(target, endpoint, drop, case, kind, field, values)
                for kind, field, values in found
                if (kind, field) not in known
            )


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comparison]:
    with litellm_without_network() as litellm:
        yield Comparison(litellm, Ours(tmp_path_factory.mktemp("config")))


@pytest.mark.parametrize("target", TARGETS)
def test_provider_gets_what_litellm_would_send(comparison: Comparison, target: str):
    unexplained = [d for d in comparison.of(target) if not any(accepted.covers(d) for accepted in ACCEPTED)]
    assert not unexplained, "\n".join(map(str, unexplained))


def test_accepted_differences_still_occur(comparison: Comparison):
    found = [difference for target in TARGETS for difference in comparison.of(target)]
    gone = [accepted for accepted in ACCEPTED if not any(accepted.covers(d) for d in found)]
    assert not gone


def test_page_lists_the_number_and_reasons_of_differences():
    page = (ROOT / "docs" / "migration.md").read_text()
    part = page.split("## Fields of requests that differ")[1].split("\n## ")[0]
    listed = {row[1].strip(): int(row[0]) for row in re.findall(r"^\| (\d+) \| (.*) \|$", part, re.MULTILINE)}
    assert listed == dict(Counter(accepted.reason for accepted in ACCEPTED))
    assert f"{len(ACCEPTED)} differences" in part


def test_every_field_of_openais_chat_api_is_covered():
    known = set(openai_params.CompletionCreateParamsStreaming.__annotations__)
    assert known - {"model", "messages"} <= chat_values.SINGLES.keys()


def test_every_field_of_anthropics_messages_api_is_covered():
    known = set(anthropic_params.MessageCreateParamsBase.__annotations__)
    known |= set(anthropic_beta_params.MessageCreateParamsBase.__annotations__)
    assert known - {"model", "messages", "max_tokens", "betas"} - messages_values.WITHHELD <= (
        messages_values.SINGLES.keys()
    )
