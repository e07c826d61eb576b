"""Errors that reject a field name, as opposed to its value, in the wording of many servers."""

import pytest

from container.formats.shared.refusals import refuses_name
from container.routing.outcome import Outcome

OLD, NEW = "max_tokens", "max_completion_tokens"


def refusal(message: str, code: str | None = None, param: str | None = None) -> Outcome:
    return Outcome("caller", 400, message, code=code, param=param)


@pytest.mark.parametrize(
    ("message", "code", "param", "name"),
    [
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
            "instead.",
            "unsupported_parameter",
            "max_tokens",
            OLD,
        ),
        ("Unsupported parameter: 'max_tokens' is not supported with this model.", None, None, OLD),
        ("Unrecognized request argument supplied: max_completion_tokens", None, None, NEW),
        ("Unknown parameter: 'max_completion_tokens'.", "unknown_parameter", None, NEW),
        ("property 'max_completion_tokens' is unsupported, did you mean 'max_tokens'?", None, None, NEW),
        ("`max_tokens` is deprecated, use `max_completion_tokens` instead", None, None, OLD),
        ("max_tokens is not supported for this model; please use max_completion_tokens.", None, None, OLD),
        (
            "[{'type': 'extra_forbidden', 'loc': ('body', 'max_completion_tokens'), 'msg': 'Extra inputs are not "
            "permitted', 'input': 16}]",
            None,
            None,
            NEW,
        ),
        ("body.max_completion_tokens: Extra inputs are not permitted", None, None, NEW),
        ("Extra inputs are not permitted", "extra_forbidden", "body.max_completion_tokens", NEW),
        ("Additional properties are not allowed ('max_completion_tokens' was unexpected)", None, None, NEW),
        ('json: unknown field "max_completion_tokens"', None, None, NEW),
        ("unknown field `max_completion_tokens`, expected one of `model`, `messages`", None, None, NEW),
        ("create() got an unexpected keyword argument 'max_completion_tokens'", None, None, NEW),
        ("Invalid parameter: max_completion_tokens", None, None, NEW),
        ("max_completion_tokens is not a valid parameter", None, None, NEW),
        ("Argument not supported on this model: max_tokens is not supported", None, None, OLD),
        ("this model is not supported MaxTokens, please use MaxCompletionTokens", None, None, OLD),
    ],
)
def test_rejected_name(message: str, code: str | None, param: str | None, name: str):
    assert refuses_name(refusal(message, code, param), name, NEW if name == OLD else OLD)


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        (
            "max_tokens is too large: 32000. This model supports at most 2048 completion tokens.",
            "invalid_value",
            "max_tokens",
        ),
        ("max_tokens is too large: 32000. This model supports at most 2048 completion tokens.", None, "max_tokens"),
        ("max_tokens is too large: 32000. This model supports at most 2048 completion tokens.", None, None),
        ("Unsupported value: 'max_tokens' does not support 1 with this model.", "unsupported_value", "max_tokens"),
        ("Unsupported value: 'max_tokens' does not support 1 with this model.", None, None),
        ("Invalid 'max_tokens': integer below minimum value. Expected a value >= 16, but got 1 instead.", None, OLD),
        ("max_tokens: 50000 is not supported by this model", None, None),
        ("max_tokens 50000 is unsupported", None, None),
        ("'max_tokens' or 'max_completion_tokens' must be at least 1, got 0.", None, None),
        ("[{'loc': ('body', 'max_tokens'), 'msg': 'Input should be less than or equal to 4096'}]", None, None),
        (
            "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (1000 in the "
            "messages, 8000 in the completion). Please reduce the length or max_tokens.",
            "context_length_exceeded",
            "messages",
        ),
        ("max_tokens must be less than or equal to `8192`, the maximum value for `max_tokens`", None, None),
        ("Unsupported parameter: 'stop' is not supported with this model.", "unsupported_parameter", "stop"),
        ("Invalid schema for function 'f': 'max_tokens' is not permitted.", None, "tools[0].function.parameters"),
        ("messages.1.max_tokens: Extra inputs are not permitted", None, None),
        ("An error occurred.", None, None),
    ],
)
def test_rejected_value_or_other_field(message: str, code: str | None, param: str | None):
    assert not refuses_name(refusal(message, code, param), OLD, NEW)
