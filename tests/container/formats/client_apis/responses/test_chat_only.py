"""Errors from `/responses` that may come from a server with chat completions only."""

import orjson
import pytest

from container.formats.client_apis.responses import ChatOnly, may_lack_responses
from container.formats.shared.failure import from_response
from tests.routing.support import deployment


def refused(status: int, error: object = None):
    return from_response(status, {}, b"" if error is None else orjson.dumps(error))


@pytest.mark.parametrize(
    "refusal",
    [
        refused(404),
        refused(404, {"detail": "Not Found"}),
        refused(404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}),
        refused(404, {"error": {"message": "litellm.NotFoundError: OpenAIException - 404 page not found"}}),
        refused(405, {"detail": "Method Not Allowed"}),
        refused(501, {"error": "not implemented"}),
    ],
)
def test_missing_page(refusal):
    assert may_lack_responses(refusal)


@pytest.mark.parametrize(
    "refusal",
    [
        refused(400, {"detail": "Not Found"}),
        refused(500),
        refused(404, {"error": {"message": "The model `x` does not exist.", "code": "model_not_found"}}),
        refused(404, {"error": {"message": "Item with id 'rs_0123456789' not found.", "param": "input"}}),
        refused(404, {"error": {"message": "Item with id 'other_0123' not found. Items are not persisted."}}),
        refused(404, {"error": {"message": "No such File object: file-0123456789"}}),
        refused(404, {"error": {"message": "File not found: file_0123456789"}}),
    ],
)
def test_other_not_found_error(refusal):
    assert not may_lack_responses(refusal)


def test_result_is_remembered_per_deployment_and_model():
    known, first, second = ChatOnly(), deployment("a", "a1"), deployment("a", "a2")
    known.learn(first, "m")
    assert known.knows(first, "m")
    assert not known.knows(first, "n")
    assert not known.knows(second, "m")
