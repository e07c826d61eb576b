"""Limits that the pages tell are those of the code."""

import pytest

from container.accounting import accounting, edge, ledger
from container.config.sections import RESPONSE_CACHE_TTL
from container.formats import vertex
from container.handlers import behind_the_edge, response_cache
from container.http_client import client
from container.observability import metrics
from container.records.request_log import MOST_WAITING
from container.routing import health
from container.server import context
from tests.processes import ROOT
from worker.core.ledger import key_admin, spend
from worker.core.pricing import estimate, prices
from worker.edge import container_life
from worker.edge.objects import usage_drain

KB, MB = 1024, 1024 * 1024
WORDS = {2: "two", 5: "five", 10: "ten", 0.5: "half a second"}

SAID = [
    ("reliability", f"keeps addresses for {client.DNS_SECONDS:g} seconds"),
    ("reliability", f"idle connections for {client.IDLE_SECONDS:g}"),
    ("reliability", f"more than {client.MAX_HEAD_BYTES // KB} KB or {client.MAX_HEADERS} lines of headers"),
    ("reliability", f"more than {client.MAX_INTERIM} interim responses"),
    ("reliability", f"a plain response over {client.MAX_BODY_BYTES // MB} MB"),
    ("reliability", f"a shared cooldown lasts at most {health.MAX_COOLDOWN_SECONDS / 60:g} minutes"),
    ("reliability", f"gets no answer; {container_life.SILENCE_LIMIT:g} s later the container is given up"),
    ("reliability", f"after {WORDS[container_life.PAUSE_AFTER_FAILURE]} seconds the next request tries again"),
    ("reliability", f"silent bodies ({context.PATIENT.silence:g} s)"),
    ("reliability", f"bodies below {context.PATIENT.rate:g} bytes a second after a minute"),
    ("ledger", f"when the lease of {WORDS[accounting.LEASE_MS / 60_000]} minutes has run out"),
    ("ledger", f"a lease is {accounting.LEASE_MS / 1000:g}"),
    ("ledger", f"for {ledger._LIE_SECONDS * 1000:g} ms at most"),
    ("ledger", f"asks for renewal every {edge.RENEW_SECONDS:g} seconds"),
    ("ledger", f"| {edge.MOST_WAITING:,} reports wait |"),
    ("ledger", f"Up to {edge.PAGE} reports are settled at a time"),
    ("ledger", f"does not answer for {usage_drain.PATIENCE:g} seconds"),
    ("ledger", f"waits there ({behind_the_edge.LIFE_SECONDS:g} s)"),
    ("ledger", f"after {behind_the_edge.ROOM_SECONDS:g} seconds in line the answer is 503"),
    (
        "ledger",
        f"408 after {behind_the_edge.PATIENT.silence:g} seconds without a byte, "
        f"or under {behind_the_edge.PATIENT.rate:g} bytes",
    ),
    ("ledger", f"cut off after {behind_the_edge.HURRIED.silence:g} seconds of silence"),
    ("ledger", f"or when after {behind_the_edge.HURRIED.grace:g} seconds it has come at less than"),
    ("ledger", f"it has come at less than {behind_the_edge.HURRIED.rate / KB:g} KB a second"),
    ("ledger", f"| {estimate._PER_MESSAGE} tokens each; {estimate._ONCE} |"),
    ("ledger", f"{estimate._PER_TOOL} tokens each, {estimate._FOR_TOOLS} for what"),
    ("ledger", f"| {prices.IMAGE_TOKENS:,} tokens; "),
    ("metrics", f"at most {metrics.MOST_SERIES} sets of labels"),
    ("configuration", f"ttl: {RESPONSE_CACHE_TTL:g}"),
    ("configuration", f"up to {response_cache.MOST_BYTES // MB} MB"),
    ("configuration", f"it is asked for {WORDS[response_cache.PATIENCE_SECONDS]} at most"),
    ("configuration", f"not for {WORDS[response_cache.PAUSE_SECONDS]}."),
    ("configuration", f"When it cannot keep up ({MOST_WAITING // MB} MB wait)"),
    ("keys", f"at most {key_admin._MAX_KEYS_AT_ONCE} of each; all or none"),
    ("keys", f"the {spend.MAX_GROUPS} largest groups"),
    ("keys", f"the newest {spend.MAX_REQUESTS:,} requests"),
    ("providers", f"renewed {WORDS[vertex.AHEAD_SECONDS / 60]} minutes before its end"),
]


@pytest.mark.parametrize(("page", "words"), SAID, ids=[words for _, words in SAID])
def test_the_page_says_what_holds(page: str, words: str):
    assert words in " ".join((ROOT / "docs" / f"{page}.md").read_text().split())
