"""Fields by which a client could steer where our provider keys go, or what LiteLLM does with them.

None of them is taken from a client: a request that carries one is refused, so that nobody believes it worked.
"""

from collections.abc import Iterable

from worker.api.errors import ApiError, invalid_request

# Acted on by LiteLLM's proxy and SDK as authority: addresses, credentials, routing, logging, prices, mocks.
_FORBIDDEN = frozenset(
    "api_base base_url api_key api_version api_type organization headers extra_headers extra_query extra_body "
    "custom_llm_provider litellm_params user_config model_list model_info deployment_id specific_deployment "
    "mock_response mock_tool_calls mock_timeout mock_delay azure_ad_token azure_ad_token_provider "
    "tenant_id client_id client_secret region_name hf_model_name "
    "callbacks success_callback failure_callback guardrails guardrail_config policies "
    "cache caching no-log no_log proxy_server_request secret_fields user_api_key user_api_key_dict "
    "model_group_alias context_window_fallback_dict ssl_verify shared_session client aclient http_client "
    "prompt_id prompt_variables prompt_version vector_store_ids logger_fn max_retries "
    "use_in_pass_through use_litellm_proxy configurable_clientside_auth_params bucket_name preset_cache_key "
    "acompletion aembedding atext_completion".split()
)
_FORBIDDEN_PREFIXES = (
    "litellm_",
    "aws_",
    "vertex_",
    "azure_",
    "s3_",
    "gcs_",
    "watsonx_",
    "oci_",
    "sagemaker_",
    "langfuse_",
    "langsmith_",
    "arize_",
    "humanloop_",
    "posthog_",
    "gcp_",
    "anthropic_",
    "openai_",
    "auto_router_",
    "input_cost_per_",
    "output_cost_per_",
)


def forbidden(names: Iterable[str]) -> str | None:
    """The first of the field names that a client may not send, or None."""
    for name in names:
        if name in _FORBIDDEN or name.startswith(_FORBIDDEN_PREFIXES):
            return name
    return None


def refuse_forbidden(names: Iterable[str]) -> None:
    """Raises ApiError 400 that names the field."""
    name = forbidden(names)
    if name is not None:
        raise refusal(name)


def refusal(name: str) -> ApiError:
    return invalid_request(f"'{name}' cannot be set by a request here; it is the gateway's to decide.", param=name)
