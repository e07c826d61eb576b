"""Which refusals of `/responses` may come from a server that has chat alone."""

import orjson
import pytest

from container.formats.shared.failure import from_response
from container.formats.shared.responses import ChatOnly, may_be, of_both
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
def test_no_such_page(refusal):
    assert may_be(refusal)


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
def test_something_else_that_is_not_there(refusal):
    assert not may_be(refusal)


def test_what_is_learnt_is_of_one_deployment_and_one_model():
    known, first, second = ChatOnly(), deployment("a", "a1"), deployment("a", "a2")
    known.learn(first, "m")
    assert known.knows(first, "m")
    assert not known.knows(first, "n")
    assert not known.knows(second, "m")


def test_of_two_refusals_the_one_that_says_more_is_told():
    page, bad, none = refused(404), refused(400, {"error": "x"}), refused(404, {"error": "y"})
    assert of_both(page, bad) is bad
    assert of_both(page, none) is page
