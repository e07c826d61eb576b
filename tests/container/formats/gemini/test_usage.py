"""Usage of Gemini's responses, from the response or the request."""

from typing import Any

import pytest

from container.formats.gemini import answer
from worker.core.pricing.usage import Usage, usage

SEARCHED = {"groundingMetadata": {"webSearchQueries": ["q"]}}
FETCHED = {"urlContextMetadata": {"urlMetadata": [{"retrievedUrl": "https://example.com"}]}}
FED = {"promptTokenCount": 10, "candidatesTokenCount": 1, "toolUsePromptTokenCount": 90, "totalTokenCount": 101}


def used(counts: dict[str, Any], *candidates: dict[str, Any], fetches: bool = False) -> Usage:
    found = answer.usage({"candidates": list(candidates), "usageMetadata": counts}, fetches=fetches)
    assert found is not None
    return usage(found)


@pytest.mark.parametrize(
    ("candidates", "fetches", "prompt"),
    [
        ([SEARCHED], False, 10),
        ([SEARCHED], True, 100),
        ([{**SEARCHED, **FETCHED}], False, 100),
        ([SEARCHED, FETCHED], False, 100),
        ([FETCHED], False, 100),
        ([{}], False, 100),
    ],
)
def test_fetched_pages_are_charged_by_token_and_searches_are_not(
    candidates: list[dict[str, Any]], fetches: bool, prompt: int
) -> None:
    found = used(FED, *candidates, fetches=fetches)
    assert found == Usage(prompt, 1, runs=found.runs)
    assert found.runs == ((("search", 1),) if candidates[0].get("groundingMetadata") else ())


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 5015}, Usage(10, 5005)),
        (
            {"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 7, "totalTokenCount": 122},
            Usage(10, 112, reasoning=7),
        ),
        ({**FED, "totalTokenCount": 201}, Usage(100, 101)),
        ({"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 3}, Usage(10, 5)),
        ({"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 10**9}, Usage(10, 5)),
        ({"totalTokenCount": 50}, Usage()),
    ],
)
def test_tokens_only_in_the_total_count_as_output(counts: dict[str, int], expected: Usage) -> None:
    assert used(counts, {}) == expected


def test_images_in_a_response() -> None:
    details = [{"modality": "IMAGE", "tokenCount": 1290}, {"modality": "TEXT", "tokenCount": 10}]
    counts = {"promptTokenCount": 10, "candidatesTokenCount": 1300, "candidatesTokensDetails": details}
    assert used(counts, {}) == Usage(10, 1300, image_completion=1290)
