"""A model asked at an endpoint that its provider does not have for it, as any client may do: what comes back says
nothing about the deployment, which goes on serving the others."""

from ..config import Deployment
from ..config.model_routes import split_route
from ..routing.outcome import UNHEALTHY, Outcome
from . import known_models
from . import refusal_words as words

# Where models that answer in text are asked.
_OF_TEXT = frozenset(("chat_completions", "messages", "count_tokens", "responses", "completions"))
# Where whoever cannot be asked cannot be asked at all: its address or its model is wrong.
_USUAL = frozenset(("chat_completions", "messages"))
_MISSING = frozenset((404, 405, 501))


def excused(outcome: Outcome, d: Deployment, model: str, endpoint: str) -> Outcome:
    """The outcome, `blameless` where the endpoint is at fault. `endpoint`: its name in worker/api/endpoints.py."""
    if outcome.kind not in UNHEALTHY or outcome.blameless or endpoint in _USUAL:
        return outcome
    if outcome.status in _MISSING and words.says_path_missing(outcome.message.lower()):
        return outcome._replace(blameless=True)
    if endpoint in _OF_TEXT or not outcome.status:
        return outcome
    name = split_route(d.provider, model)[1]
    answers_in_text = known_models.known(d.info.get("base_model"), f"{d.provider}/{name}", name) is not None
    return outcome._replace(blameless=True) if answers_in_text else outcome
