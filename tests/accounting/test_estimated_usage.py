"""Usage missing from the provider is estimated with the tokenizer of the deployment that answered."""

from pathlib import Path

import orjson

from container.accounting.reservation import PriceBook, Reservation, Transcript
from container.config.load import load
from container.routing.router import Router, Try
from tests.ledger.corpus import PROSE
from worker.core.ledger.settle import Report
from worker.core.pricing.estimate import CL100K, LARGEST, O200K, prompt, text_tokens

CONFIG = """
model_list:
- {model_name: a, litellm_params: {model: openai/gpt-4o}}
- {model_name: b, litellm_params: {model: anthropic/claude-sonnet-4-6}}
- {model_name: c, litellm_params: {model: openai/gpt-4}}
"""
BODY = {"messages": [{"role": "user", "content": PROSE["russian"]}]}
ANSWER = PROSE["hindi"]


class Reports(list[Report]):
    async def now(self, report: Report) -> None:
        self.append(report)

    def later(self, report: Report) -> None:
        self.append(report)


def test_usage_is_estimated_with_the_tokenizer_of_the_deployment_that_answered(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    config = load(file, {"OPENAI_API_KEY": "x", "ANTHROPIC_API_KEY": "x"})
    router = Router(config)
    price_book = PriceBook(config, router, default_max_output=1)
    for name, table in (("a", O200K), ("b", LARGEST), ("c", CL100K)):
        reports = Reports()
        reservation = Reservation(
            "r", price_book, reports, "i", amount=None, prompt=prompt(BODY), output_limit=None, limited=False
        )
        [target] = router.groups.targets(name)
        reservation.trying(Try(target, "a", 0, 0))
        said = Transcript()
        said.add(orjson.dumps({"choices": [{"message": {"content": ANSWER}}]}))
        reservation.answered(None, said)
        reservation.abandon(200)
        [report] = reports
        assert (report.prompt_tokens, report.completion_tokens, report.estimated) == (
            prompt(BODY).tokens(table),
            text_tokens(ANSWER, table),
            1,
        )
