"""IDs made by the proxy have the same format as the edge's, as the API description promises."""

import json
import re

from container.server import context
from worker.core import openapi


def test_ids_have_32_digits_and_are_unique_and_ordered():
    made = [context.new_request_id() for _ in range(10_000)]
    assert len(set(made)) == 10_000
    assert made == sorted(made)
    assert all(re.fullmatch("[0-9a-f]{32}", id) for id in made)


def test_page_cursor_matches_its_description():
    described = json.loads(openapi.text())["paths"]["/spend/logs"]["get"]["parameters"]
    (after,) = (parameter["schema"] for parameter in described if parameter["name"] == "after")
    assert re.search(after["pattern"], f"1800000000000-{context.new_request_id()}")
