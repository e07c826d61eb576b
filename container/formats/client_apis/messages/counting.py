"""Token counts for models that are not asked for them.

Only Anthropic has `count_tokens`. For other models the answer is our own estimate, without any request. Documents are
not counted.
https://platform.claude.com/docs/en/api/messages/count_tokens
"""

import orjson

from worker.core.pricing.estimate import prompt

from ....config.deployment import Deployment
from ....config.prices import tokenizer
from ....request.completion import Completion
from ...shared.answer import Plain

# Budgets are reserved with an upper bound, which is 1.5 times the tokens of usual text (tests/ledger/test_estimate.py).
_OVER = 1.5
# What a picture costs Claude at most: https://platform.claude.com/docs/en/build-with-claude/vision#image-costs
_PICTURE = 1_600


def estimates(d: Deployment, endpoint: str) -> bool:
    return endpoint == "count_tokens" and not (d.kind == "direct" and d.format == "anthropic")


def estimated(d: Deployment, model: str, request: Completion) -> Plain:
    measured = prompt(request.body)
    tokens = round(measured.tokens(tokenizer(d, model)) / _OVER) + measured.images * _PICTURE
    return Plain(orjson.dumps({"input_tokens": tokens}), None)
