"""The OpenAPI document: every endpoint of the table, no other path, and no dangling reference."""

import json
import re

import pytest

from worker.core import openapi
from worker.core.api.endpoints import ALL, find
from worker.core.ledger import keys

DOCUMENT = openapi.document()


def test_every_endpoint_is_described_and_no_other():
    assert DOCUMENT["paths"].keys() == {endpoint.path for endpoint in ALL}
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            if method == "servers":
                continue
            assert find(
                method.upper(), path.replace("{id}", "x").replace("{key}", "x").replace("{file}", "x.js")
            ).name == operation["operationId"].removeprefix("delete_")


def test_every_reference_resolves():
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', openapi.text()):
        found = DOCUMENT
        for part in reference.split("/"):
            found = found[part]
        assert found


def test_only_health_openapi_and_the_dashboard_need_no_key():
    public = {path for path, operations in DOCUMENT["paths"].items() if operations.get("get", {}).get("security") == []}
    health = {"/", "/health", "/health/liveliness", "/health/liveness", "/health/readiness"}
    sign_in = {"/dashboard/session", "/dashboard/sign-in", "/dashboard/sign-in/callback"}
    assert public == {*health, "/openapi.json", "/dashboard", "/dashboard/{file}", *sign_in}


def test_the_served_text_is_the_document():
    assert json.loads(openapi.text()) == DOCUMENT


@pytest.mark.parametrize("name", ["KeyGenerate", "KeyUpdate", "KeyRegenerate"])
def test_every_field_of_a_key_can_be_sent(name: str):
    properties = DOCUMENT["components"]["schemas"][name]["properties"]
    assert set(keys.NAMES) <= properties.keys()
    assert all(properties[field]["description"] for field in keys.NAMES)


def test_every_public_column_of_a_key_is_shown():
    shown = {field.shown or field.name for field in keys.KEYS.columns.values()} - {""}
    assert shown <= DOCUMENT["components"]["schemas"]["Key"]["properties"].keys()
