"""Request fields that would let a client redirect provider keys or change what LiteLLM does with them.

A request with such a field is refused, so that nobody believes that it took effect. The list follows LiteLLM's
parameters; a test compares the two.
"""

from collections.abc import Iterable

from worker.core.api.errors import ApiError, invalid_request

# LiteLLM's proxy and SDK trust these fields.
_ADDRESSES = """
    api_base base_url deployment_url api_type api_version use_ssl ssl_verify proxy_server_request
    headers extra_headers extra_query extra_body provider_specific_header provider_affinity_header
    region_name allowed_model_region data_residency client aclient http_client shared_session use_client rust
    custom_llm_provider use_chat_completions_api use_litellm_proxy use_in_pass_through azure hf_model_name
"""
_CREDENTIALS = """
    api_key organization azure_ad_token azure_ad_token_provider tenant_id client_id client_secret workspace_id
    user_config configurable_clientside_auth_params secret_fields use_xai_oauth user_api_key user_api_key_dict
    user_api_key_auth_metadata fireworks_forward_user_id
"""
_ROUTING = """
    id model_list model_info model_config model_alias_map model_group_alias model_file_id_mapping silent_model
    base_model deployment_id specific_deployment context_window_fallback_dict attempted_targets fallback_depth
    max_fallbacks max_retries retry_policy retry_strategy routing_strategy cooldown_time enable_tag_filtering
    tag_regex order weight rpm tpm itpm otpm default_api_key_rpm_limit default_api_key_tpm_limit
    max_parallel_requests max_file_size_mb max_agentic_loops fastest_response
    stream_timeout request_timeout force_timeout client_side_timeout timeout_by_service_tier
    stream_timeout_by_service_tier keepalive_seconds allow_client_keepalive_override
"""
# OpenRouter's own fallbacks and routing: they reach models that are not allowed, at prices that are not reserved.
_BEYOND = "models route provider preset"
# These make LiteLLM drop fields, including our limits.
_LEFT_OUT = "drop_params additional_drop_params allowed_openai_params"
_LOGGING = """
    callbacks success_callback failure_callback logger_fn log_client_error_tracebacks verbose no-log no_log
    turn_off_message_logging bedrock_tags
"""
_POLICIES = "guardrails guardrail_config policies disable_add_transform_inline_image_block"
_MONEY = "max_budget budget_duration tiered_pricing"
_STORES = """
    cache caching cache_key caching_groups preset_cache_key bucket_name output_vector_size
    prompt_id prompt_variables prompt_version prompt_label prompt_environment custom_prompt_dict
    vector_store_id vector_store_ids search_tool_name
"""
_MOCKS = "mock_response mock_tool_calls mock_timeout mock_delay complete_response"
_INTERNALS = """
    self litellm_params async_call text_completion stream_response completion_call_id aimg_generation
    allm_passthrough_route acompletion aembedding atext_completion
"""
_WHO_AND_WHERE = (_ADDRESSES, _CREDENTIALS, _ROUTING, _BEYOND)
_HOW = (_LEFT_OUT, _LOGGING, _POLICIES, _MONEY, _STORES, _MOCKS, _INTERNALS)
_FORBIDDEN = frozenset(" ".join((*_WHO_AND_WHERE, *_HOW)).split())
_FORBIDDEN_PREFIXES = (
    "_",
    "litellm_",
    # providers and their clouds
    "agentcore_",
    "anthropic_",
    "anthropic-",
    "aws_",
    "azure_",
    "gcp_",
    "gcs_",
    "nvcf_",
    "oci_",
    "openai_",
    "s3_",
    "sagemaker_",
    "vertex_",
    "watsonx_",
    # LiteLLM's logging integrations
    "arize_",
    "braintrust_",
    "dd_",
    "humanloop_",
    "lago_",
    "langfuse_",
    "langsmith_",
    "lunary_",
    "newrelic_",
    "posthog_",
    "signoz_",
    "slack_",
    "wandb_",
    "weave_",
    # its stores
    "milvus_",
    "valkey_",
    # its routers
    "adaptive_router_",
    "auto_router_",
    "complexity_router_",
    "quality_router_",
    # its prices
    "regional_",
)
# Anthropic's fields that change the price of a model. `speed` is also a field of the speech endpoint, so they are not
# forbidden everywhere.
DEARER = frozenset(("speed", "inference_geo"))
_PRICES = ("cost_per_", "_token_cost")


def forbidden(names: Iterable[str]) -> str | None:
    """Return the first field name that a client may not send, or None."""
    for name in names:
        if name in _FORBIDDEN or name.startswith(_FORBIDDEN_PREFIXES) or any(part in name for part in _PRICES):
            return name
    return None


def refuse_forbidden(names: Iterable[str]) -> None:
    """Raises ApiError 400 that names the field."""
    name = forbidden(names)
    if name is not None:
        raise refusal(name)


def refusal(name: str) -> ApiError:
    return invalid_request(f"'{name}' cannot be set by a request here; it is the gateway's to decide.", param=name)
