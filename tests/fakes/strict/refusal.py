"""An error of a strict provider, in the provider's own shape."""

from typing import Any, NamedTuple


class Refusal(NamedTuple):
    status: int
    body: dict[str, Any]


class Wrong(Exception):
    """`path` is the path of the invalid field, such as `messages[1].reasoning_content`."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


def openai(error: Wrong) -> Refusal:
    said = {"message": str(error), "type": "invalid_request_error", "param": error.path, "code": None}
    return Refusal(400, {"error": said})


def bare(error: Wrong) -> Refusal:
    """Cerebras writes the contents of `error` at the top level."""
    said = {"message": f"{error.path}: {error}", "type": "invalid_request_error", "param": "validation_error"}
    return Refusal(400, {**said, "code": "wrong_api_format"})


def mistral(error: Wrong) -> Refusal:
    """The message is an object: https://docs.mistral.ai/api."""
    detail = [{"type": "extra_forbidden", "loc": ["body", *error.path.split(".")], "msg": str(error), "input": None}]
    said = {"object": "error", "message": {"detail": detail}, "type": "invalid_request_error", "param": None}
    return Refusal(422, {**said, "code": None})


def fastapi(error: Wrong) -> Refusal:
    return Refusal(
        422, {"detail": [{"loc": ["body", *error.path.split(".")], "msg": str(error), "type": "value_error"}]}
    )


def xai(error: Wrong) -> Refusal:
    return Refusal(400, {"code": "Client specified an invalid argument", "error": f"{error.path}: {error}"})
