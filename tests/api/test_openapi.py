"""The API's description: every path of the table, nothing else, and nothing that a reader cannot resolve."""

import json
import re

from worker.api import openapi, openapi_schemas
from worker.api.endpoints import DASHBOARD_FILE, KEY_REGENERATE, MODEL, TABLE, find
from worker.ledger import key_fields, money

DOCUMENT = openapi.document()


def test_every_endpoint_is_described_and_no_other():
    assert DOCUMENT["paths"].keys() == {*TABLE, MODEL.path, DASHBOARD_FILE.path, KEY_REGENERATE.path}
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            assert (
                find(method.upper(), path.replace("{id}", "x").replace("{key}", "x").replace("{file}", "x.js")).name
                == operation["operationId"]
            )


def test_every_reference_leads_somewhere():
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', openapi.text()):
        found = DOCUMENT
        for part in reference.split("/"):
            found = found[part]
        assert found


def test_only_health_the_description_and_the_dashboard_need_no_key():
    public = {path for path, operations in DOCUMENT["paths"].items() if operations.get("get", {}).get("security") == []}
    health = {"/", "/health", "/health/liveliness", "/health/liveness", "/health/readiness"}
    assert public == {*health, "/openapi.json", "/dashboard", "/dashboard/{file}"}


def test_the_text_is_the_document():
    assert json.loads(openapi.text()) == DOCUMENT


def test_it_says_of_keys_what_the_ledger_checks():
    assert openapi_schemas.USD["maximum"] == money.MAX_USD
    assert key_fields.PRINTABLE.pattern == openapi_schemas.PRINTABLE
