"""Request fields that clients may not set."""

import pytest

from container.request.authority import forbidden, refuse_forbidden
from worker.core.api.errors import ApiError


@pytest.mark.parametrize(
    "name",
    [
        "api_base",
        "api_key",
        "base_url",
        "extra_headers",
        "provider_specific_header",
        "custom_llm_provider",
        "model_list",
        "silent_model",
        "mock_response",
        "guardrails",
        "aws_role_name",
        "vertex_credentials",
        "litellm_metadata",
        "langfuse_host",
        "input_cost_per_token",
        "cache_read_input_token_cost",
        "_litellm_addressed_response_id",
        "no-log",
    ],
)
def test_authority_field_is_rejected_by_name(name):
    assert forbidden(["messages", name]) == name
    with pytest.raises(ApiError) as caught:
        refuse_forbidden([name])
    assert (caught.value.status, caught.value.param) == (400, name)
    assert f"'{name}'" in caught.value.message


@pytest.mark.parametrize(
    "name",
    ["messages", "temperature", "user", "metadata", "some_new_field", "prompt_cache_key", "guided_json", "top_k", ""],
)
def test_other_field_passes(name):
    refuse_forbidden([name])
    assert forbidden([name]) is None
