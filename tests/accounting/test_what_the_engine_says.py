"""Engine responses that report usage in other terms, or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from container.accounting.reservation import PriceBook, Reservation, Transcript, hidden_output
from container.config.load import load
from container.handlers.completions import charge
from container.handlers.engine import usage
from container.routing.router import Router, Try
from tests.accounting.test_estimated_usage import Reports
from worker.core.ledger.settle import Report
from worker.core.pricing.estimate import LARGEST, Prompt

CONFIG = """
model_list:
- {model_name: voyage, litellm_params: {model: voyage/rerank-2.5},
   model_info: {input_cost_per_token: 0.00000005, output_cost_per_token: 0, max_input_tokens: 600000}}
- {model_name: cohere, litellm_params: {model: cohere/rerank-v3.5},
   model_info: {input_cost_per_query: 0.002, input_cost_per_token: 0, output_cost_per_token: 0}}
- {model_name: heard, litellm_params: {model: openai/gpt-4o-transcribe},
   model_info: {input_cost_per_token: 0.0000025, output_cost_per_token: 0.00001, max_input_tokens: 16000}}
- {model_name: timed, litellm_params: {model: openai/whisper-1},
   model_info: {input_cost_per_second: 0.0001, input_cost_per_token: 0, output_cost_per_token: 0}}
"""
SEARCH, FILE, NANO = {"query": 1}, Prompt(0, 0, ("file",)), 10**9


@pytest.fixture
def report(tmp_path: Path) -> Any:
    """`report(model, answer, prompt, units)` returns the report of a response, with or without a body."""
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    config = load(file, dict.fromkeys(("OPENAI_API_KEY", "VOYAGE_API_KEY", "COHERE_API_KEY"), "x"))
    router = Router(config)
    price_book = PriceBook(config, router, default_max_output=1)

    def reported(
        model: str, answer: Mapping[str, Any] | None, prompt: Prompt, units: Any = None, **streamed: Any
    ) -> Report:
        reports = Reports()
        reservation = Reservation(
            "r", price_book, reports, "i", amount=NANO, prompt=prompt, output_limit=None, limited=True, units=units
        )
        [target] = router.groups.targets(model)
        reservation.trying(Try(target, model, 0, 0))
        if answer is None:
            reservation.answered({})
        elif streamed:
            reservation.answered(answer, streamed["said"], early=streamed["early"])
        else:
            raw = orjson.dumps(answer)
            charge(reservation, usage(raw), raw, [])
        reservation.abandon(200)
        return reports[0]

    return reported


@pytest.mark.parametrize(
    "said",
    [
        {"meta": {"billed_units": {"total_tokens": 500_000}}},
        {"meta": {"billed_units": {"input_tokens": 500_000}}},
        {"usage": {"total_tokens": 500_000}, "meta": None},
    ],
    ids=str,
)
def test_a_ranking_priced_per_token_costs_its_tokens(report: Any, said: dict[str, Any]) -> None:
    found = report("voyage", {"results": [], **said}, Prompt(30), SEARCH)
    assert (found.prompt_tokens, found.completion_tokens, found.estimated) == (500_000, 0, 0)
    assert found.cost == 500_000 * 50


def test_a_ranking_priced_per_token_without_usage_is_estimated(report: Any) -> None:
    found = report("voyage", {"results": [], "meta": {}}, Prompt(30), SEARCH)
    assert (found.prompt_tokens, found.cost, found.estimated) == (30, 30 * 50, 1)


@pytest.mark.parametrize(("billed", "searches"), [({"search_units": 10}, 10), ({}, 1), ({"search_units": "10"}, 1)])
def test_a_ranking_priced_per_search_costs_the_billed_searches(
    report: Any, billed: dict[str, Any], searches: int
) -> None:
    found = report("cohere", {"results": [], "meta": {"billed_units": billed}}, Prompt(30), SEARCH)
    assert (found.cost, found.estimated) == (searches * 2_000_000, 0)


@pytest.mark.parametrize("answer", [None, {"text": "hi", "usage": None}], ids=["text", "json"])
def test_a_file_without_usage_costs_its_reservation(report: Any, answer: Any) -> None:
    found = report("heard", answer, FILE)
    assert (found.prompt_tokens, found.cost, found.estimated) == (16_000, 16_000 * 2500, 1)


def test_a_file_priced_per_second_costs_no_tokens(report: Any) -> None:
    assert report("timed", None, FILE).cost == 0


def test_an_answer_nested_too_deeply_to_parse_is_measured_by_its_bytes() -> None:
    said = Transcript()
    said.add(b'{"output":' + b"[" * 2000 + b"]" * 2000 + b',"usage":{"input_tokens":1,"output_tokens":1}}')
    assert said.tokens(LARGEST) > 500


@pytest.mark.parametrize(
    ("model", "thinks"),
    [
        ("openai/gpt-5", True),
        ("openai/gpt-5.2-pro", True),
        ("openai/gpt-6-astra", True),
        ("openrouter/openai/o4-mini", True),
        ("xai/grok-4-fast-reasoning", True),
        ("anthropic/claude-fable-5", True),
        ("openai/gpt-5-chat-latest", False),
        ("azure/gpt-35-turbo", False),
        ("openai/gpt-4o", False),
        ("openai/gpt-4.1", False),
        ("xai/grok-4-fast-non-reasoning", False),
        ("anthropic/claude-sonnet-4-6", False),
    ],
)
def test_models_that_reason_by_default(tmp_path: Path, model: str, thinks: bool) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        f"model_list: [{{model_name: a, litellm_params: {{model: {model}, api_key: k, api_base: 'https://a.example'}}}}]"
    )
    [target] = Router(load(file, {})).groups.targets("a")
    found = hidden_output({"max_tokens": 77}, target, {"input": 1, "output": 1, "image_tokens": 1})
    assert found == (77 if thinks else None)


@pytest.mark.parametrize(("early", "tokens"), [(True, 2), (False, 0)])
def test_zero_output_tokens_are_believed_only_at_the_end(report: Any, early: bool, tokens: int) -> None:
    """Some providers report zero output tokens in the first event."""
    said = Transcript()
    said.add(b'data: {"choices":[{"delta":{"content":"one two"}}]}\n\n')
    found = report("heard", {"prompt_tokens": 7, "completion_tokens": 0}, Prompt(30), said=said, early=early)
    assert (found.prompt_tokens, found.estimated) == (7, int(early))
    assert found.completion_tokens >= tokens
    assert early or found.completion_tokens == 0
