"""LiteLLM's settings that nothing here reads: what does it here instead, and which of them stop the start.

A config that LiteLLM starts with starts here, too. Only a setting whose loss would cost money, keys or a protection
that the file promises is in `STOPS`; docs/migration.md lists those. Names are LiteLLM's
(https://docs.litellm.ai/docs/proxy/config_settings, `litellm.proxy._types.ConfigGeneralSettings`, `litellm.Router`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .problems import Level

# What a key that is generated would be limited by.
KEY_LIMITS = frozenset(
    "max_budget soft_budget budget_duration tpm_limit rpm_limit max_parallel_requests models duration "
    "team_id key_type".split()
)


class Stop(NamedTuple):
    """`lost`: what would be lost, to follow the setting's name; `mend`: what to do; `applies`: whether such a value
    promises anything."""

    lost: str
    mend: str
    applies: Callable[[Any], bool] = bool


def _limits_keys(value: Any) -> bool:
    return isinstance(value, dict) and any(value.get(name) not in (None, [], {}) for name in KEY_LIMITS)


def _is_on(value: Any) -> bool:
    return value not in (None, False, 0, "", [], {}) and str(value).lower() not in ("false", "off", "no", "0")


def _names_a_route_of_keys(value: Any) -> bool:
    """Whether a path is for administrators only that a virtual key may ask here."""
    ours = ("/key", "/user", "/team", "/spend", "/global", "/config", "/organization", "/customer", "/model/")
    return bool(value) and not (
        isinstance(value, list) and all(isinstance(one, str) and one.startswith(ours) for one in value)
    )


_ONE_MODEL = Stop(
    "sends every such request to one model, whatever it names; here each would go to the model that it names.",
    "List that model alone, or give the names that clients use as `router_settings.model_group_alias`.",
)
_NO_MASTER_KEY = "decides who is let in; without a master key everybody would be."
_SET_A_MASTER_KEY = "Set LITELLM_MASTER_KEY, and give each client a virtual key."

# By "section.name", or the name of a section.
STOPS: Mapping[str, Stop] = {
    "general_settings.allowed_ips": Stop(
        "lets in these addresses alone; here every address would be.",
        "Restrict them in front of the gateway (firewall, reverse proxy), and remove it.",
    ),
    "general_settings.completion_model": _ONE_MODEL,
    "general_settings.embedding_model": _ONE_MODEL,
    "general_settings.image_generation_model": _ONE_MODEL,
    "general_settings.moderation_model": _ONE_MODEL,
    "general_settings.enforced_params": Stop(
        "refuses requests without these fields; here they would be let in.", "Remove it to let them in."
    ),
    "general_settings.admin_only_routes": Stop(
        "keeps these paths for administrators; here keys may use them.",
        "Remove it, and give keys only the `models` that they need.",
        _names_a_route_of_keys,
    ),
    "general_settings.enforce_fallback_model_access": Stop(
        "keeps keys off fallback models that they may not use; here the config's fallbacks are everybody's.",
        "Leave models that are not for everybody out of `fallbacks`, and remove it.",
        _is_on,
    ),
    "litellm_settings.max_end_user_budget": Stop(
        "limits what each end user (`user`) may spend, which nothing here does.",
        "Give each a key with a `user_id`, set `litellm_settings.max_user_budget`, and remove it.",
    ),
    "litellm_settings.max_end_user_budget_id": Stop(
        "limits what each end user (`user`) may spend, which nothing here does.",
        "Give each a key with a `user_id`, set `litellm_settings.max_user_budget`, and remove it.",
    ),
    "litellm_settings.tag_budget_config": Stop(
        "limits what requests with a tag may spend, which nothing here does.",
        "Give each purpose a key with a `max_budget`, and remove it.",
    ),
    "litellm_settings.cost_margin_config": Stop(
        "charges more than the provider does; here the provider's price would be charged.",
        "Write the price to charge into each `model_info`, and remove it.",
    ),
    "litellm_settings.upperbound_key_generate_params": Stop(
        "limits every key that is generated; here a key has the limits that `/key/generate` is sent.",
        "Send them with every `/key/generate`, or set `max_user_budget`, and remove it.",
        _limits_keys,
    ),
    "litellm_settings.default_key_generate_params": Stop(
        "limits keys that are generated without limits; here a key has those that `/key/generate` is sent.",
        "Send them with every `/key/generate`, and remove it.",
        _limits_keys,
    ),
    "router_settings.provider_budget_config": Stop(
        "limits what a provider may cost, which nothing here does.",
        "Set `litellm_settings.max_budget`, or budgets of keys, and remove it.",
    ),
    "router_settings.guardrail_list": Stop(
        "lists guardrails; here requests would pass unguarded.", "Write them as the section `guardrails`."
    ),
    "policies": Stop(
        "says which guardrails hold for whom; here requests would pass unguarded.",
        "Write guardrails with `default_on: true`, and remove it.",
    ),
}

# These let clients in by something else than keys. With a master key they are refused instead, so nothing is lost.
OTHER_AUTHENTICATION: Mapping[str, Stop] = {
    f"general_settings.{name}": Stop(_NO_MASTER_KEY, _SET_A_MASTER_KEY, _is_on)
    for name in (
        "custom_auth",
        "enable_jwt_auth",
        "litellm_jwtauth",
        "enable_oauth2_auth",
        "enable_oauth2_proxy_auth",
        "enforce_rbac",
    )
}

_LOG_LEVEL = "use LITELLM_LOG_LEVEL"
_FROM_REQUESTS = "health is learnt from requests"
_LEDGER = "the ledger needs them"
_ALWAYS = "it is always so"
_NEVER = "it is never so"

# Settings of LiteLLM that need nothing here, with the reason: a note.
HARMLESS: Mapping[str, str] = {
    "set_verbose": _LOG_LEVEL,
    "debug_level": _LOG_LEVEL,
    "detailed_debug": _LOG_LEVEL,
    "log_level": _LOG_LEVEL,
    "json_logs": "logs are JSON lines always",
    "telemetry": "there is none",
    "suppress_debug_info": "there is none",
    "cancel_on_disconnect": "providers are always cancelled when a client leaves",
    "enable_pre_call_checks": "deployments that are off are always skipped",
    "enable_pre_call_check": "deployments that are off are always skipped",
    "proxy_batch_write_at": "nothing is written in batches",
    "background_health_checks": _FROM_REQUESTS,
    "use_shared_health_check": _FROM_REQUESTS,
    "enable_health_check_routing": _FROM_REQUESTS,
    "model_list_healthy_only": _FROM_REQUESTS,
    "disable_spend_logs": _LEDGER,
    "disable_spend_updates": _LEDGER,
    "disable_error_logs": _LEDGER,
    "disable_end_user_cost_tracking": _LEDGER,
    "disable_end_user_cost_tracking_prometheus_only": _LEDGER,
    "disable_reset_budget": "budgets begin anew with their period",
    "disable_budget_reservation": "a request's price is always reserved",
    "fail_closed_budget_enforcement": _ALWAYS,
    "fail_closed_rate_limit_enforcement": _ALWAYS,
    "store_model_in_db": "models are the config's",
    "supported_db_objects": "models are the config's",
    "disable_prisma_schema_update": "there is no Prisma here",
    "use_redis_transaction_buffer": "the ledger needs no buffer",
    "reject_clientside_metadata_tags": "no budget goes by a client's tags",
    "allow_client_side_credentials": _NEVER,
    "disable_responses_id_security": _NEVER,
    "allow_unmanaged_response_ids": _NEVER,
    "disable_master_key_return": "the master key is never shown",
    "disable_adding_master_key_hash_to_db": _ALWAYS,
    "disable_custom_api_keys": "only the master key makes keys",
    "key_generation_settings": "only the master key makes keys",
    "custom_key_generate": "only the master key makes keys",
    "custom_key_update": "only the master key changes keys",
    "custom_key_policy": "only the master key makes keys",
    "default_team_disabled": "there are no teams",
    "use_team_public_model_name": "there are no teams",
    "apply_user_budget_to_team_keys": "there are no teams",
    "disable_auto_add_proxy_admin_to_teams": "there are no teams",
    "disable_key_generate_for_org_admin": "only the master key makes keys",
    "scheduled_job_stagger": "nothing runs by a schedule",
    "track_unmanaged_batch_cost": "/batches is answered 404",
    "transcribe_media_buckets": "there are no pass-through endpoints",
    "disable_bedrock_agent_runtime_passthrough": _ALWAYS,
    "passthrough_managed_object_ids": "there are no pass-through endpoints",
    "enable_openai_websocket_passthrough": "there are no pass-through endpoints",
    "hide_default_credentials_hint": "the dashboard hints at none",
    "disable_retry_on_max_parallel_request_limit_error": _ALWAYS,
    "expose_fallback_errors_to_caller": "a client is told of the last failure",
    "user_url_validation": "no address that a client names is called",
    "user_url_allowed_hosts": "no address that a client names is called",
    "provider_url_destination_allowed_hosts": "no address that a client names is called",
    "user_api_key_cache_ttl": "a changed key holds with the next request",
    "user_api_key_cache_max_size": "a changed key holds with the next request",
    "enable_redis_auth_cache": "a changed key holds with the next request",
    "infer_model_from_keys": "models are the config's",
    "ignore_invalid_deployments": _ALWAYS,
    "router_general_settings": "there is nothing to choose",
    "client_ttl": "connections are kept by themselves",
    "polling_interval": "there is no queue",
    "default_priority": "there is no queue",
    "cache_responses": "litellm_settings.cache does it",
    "cache_kwargs": "litellm_settings.cache_params does it",
    "caching_groups": "each model's answers are kept apart",
    "enable_loadbalancing": _ALWAYS,
    "enable_weighted_failover": "the next healthy deployment is always tried",
    "search_tools": "it has no endpoint here",
    "assistants_config": "it has no endpoint here",
    "disable_hf_tokenizer_download": _ALWAYS,
    "drop_unknown_params": "drop_params does it",
    "service_callback": "/metrics and the log tell it",
    "service_callbacks": "/metrics and the log tell it",
    "dangerously_permit_weak_or_unset_master_key": "ALLOW_ANONYMOUS and LOCAL_DEVELOPMENT do it",
    "litellm_license": "nothing here needs one",
    "max_ui_session_budget": "the dashboard asks no model",
    "ui_access_mode": "the dashboard takes the master key",
    "disable_copilot_system_to_assistant": "it does nothing in LiteLLM either",
}

_ALERTS = "Set ALERT_WEBHOOK_URL: it gets a POST when a budget is passed."
_SECRETS = "Secrets come from the environment: set each variable that `os.environ/…` names."
_KEYS = "Keys have `max_parallel_requests`, `rpm_limit` and `tpm_limit`; deployments have `max_parallel_requests`."
_NOT_FORWARDED = "What a client sends for its provider is not passed on; write `extra_headers` in `litellm_params`."
_NO_ENDPOINT = "Requests for it are answered 404."
_METRICS = "GET /metrics has figures of its own; METRICS_PUBLIC says who may see them."
_USERS = "Keys have a `user_id`; set `litellm_settings.max_user_budget` for what each may spend."
_RETENTION = "SPEND_LOG_RETENTION_DAYS says how long the spend log is kept; what is older goes by itself."

# What does it here: a warning.
INSTEAD: Mapping[str, str] = {
    "alerting_config": _ALERTS,
    "alerting": _ALERTS,
    "alert_types": _ALERTS,
    "alert_to_webhook_url": _ALERTS,
    "alerting_args": _ALERTS,
    "alerting_threshold": _ALERTS,
    "alert_type_config": _ALERTS,
    "spend_report_frequency": "`litellm-router spend` and GET /spend/activity tell what was spent.",
    "key_management_system": _SECRETS,
    "key_management_settings": _SECRETS,
    "use_google_kms": _SECRETS,
    "use_azure_key_vault": _SECRETS,
    "max_parallel_requests": _KEYS,
    "global_max_parallel_requests": _KEYS,
    "max_in_flight_requests_per_worker": _KEYS,
    "max_queued_requests_per_worker": _KEYS,
    "token_rate_limit_type": "`tpm_limit` counts a request's input and output.",
    "max_response_size_mb": "An output limit (`max_tokens` in `litellm_params`) bounds an answer.",
    "store_prompts_in_spend_logs": "Write `general_settings.request_logging: {contents: true}`.",
    "store_audit_logs": "Every change of a key has its line in the log (`admin`).",
    "allow_requests_on_db_unavailable": "Without its ledger the gateway answers 503: no budget could be kept.",
    "allow_user_auth": "Each user needs a key: POST /key/generate.",
    "public_routes": "/health, /openapi.json and, with PUBLIC_MODELS, /v1/models need no key.",
    "allowed_routes": "A key may ask every model endpoint; the master key alone administers.",
    "litellm_key_header_name": "Keys are sent as `Authorization: Bearer` or `x-api-key`.",
    "enforce_user_param": "Requests without `user` are let in; give each user a key with a `user_id`.",
    "user_header_name": "A key's `user_id` says who asks.",
    "user_header_mappings": "A key's `user_id` says who asks.",
    "use_x_forwarded_for": "TRUSTED_PROXIES says whose X-Forwarded-For is believed.",
    "trusted_proxy_ranges": "TRUSTED_PROXIES says whose X-Forwarded-For is believed.",
    "forward_client_headers_to_llm_api": _NOT_FORWARDED,
    "forward_llm_provider_auth_headers": _NOT_FORWARDED,
    "forward_openai_org_id": "Write `organization` in `litellm_params`.",
    "forward_traceparent_to_llm_provider": "Traces say which provider was asked (docs/traces.md).",
    "add_user_information_to_llm_headers": "No provider is told who asks.",
    "always_include_stream_usage": "A client sends `stream_options: {include_usage: true}`.",
    "include_cost_in_streaming_usage": "x-litellm-response-cost has it, and GET /spend/logs.",
    "otel": "Set OTEL_EXPORTER_OTLP_ENDPOINT (docs/traces.md).",
    "tracing": "Set OTEL_EXPORTER_OTLP_ENDPOINT (docs/traces.md).",
    "pass_through_endpoints": "Clients that ask these paths are answered 404.",
    "use_client_credentials_pass_through_routes": _NO_ENDPOINT,
    "pass_through_request_timeout": _NO_ENDPOINT,
    "responses_websocket_session_limit_seconds": _NO_ENDPOINT,
    "service_account_settings": "A key is a key: give each its own limits.",
    "role_permissions": "A key has the `models` that it may use.",
    "oauth2_config_mappings": "Give each client a virtual key.",
    "include_call_id_in_error_body": "The header `x-litellm-call-id` has it.",
    "missing_session_id": "Each request has an id, `x-litellm-call-id`.",
    "enable_public_model_hub": "GET /v1/models lists the models.",
    "spend_logs_metadata_fields": "A line of the spend log has the fields that docs/ledger.md names.",
    "use_spend_logs_partitioning": "SPEND_LOG_RETENTION_DAYS says how long the spend log is kept.",
    "spend_capture_rate_check": "GET /spend/logs has what each request cost.",
    "allow_public_health_readiness_details": "GET /health/readiness says what everybody may know.",
    "disable_env_credential_login": "There are no sign-ins: the dashboard takes the master key.",
    "disable_password_login_when_sso_enabled": "There are no sign-ins: the dashboard takes the master key.",
    "auto_redirect_ui_login_to_sso": "There are no sign-ins: the dashboard takes the master key.",
    "allow_cli_sso_verification_uri_complete": "There are no sign-ins: the dashboard takes the master key.",
    "admission_queue_timeout_seconds": "A request that finds no room is tried elsewhere, or answered 429 or 503.",
    "enable_mcp_registry": _NO_ENDPOINT,
    "user_mcp_management_mode": _NO_ENDPOINT,
    "custom_team_metadata_validate": "There are no teams: give each a key.",
    "max_retries": "Write `num_retries`.",
    "custom_sso": "There are no sign-ins: the dashboard takes the master key.",
    "custom_ui_sso_sign_in_handler": "There are no sign-ins: the dashboard takes the master key.",
    "control_plane_url": "Each gateway has its own config.",
    "default_team_settings": "There are no teams: give each a key.",
    "default_team_params": "There are no teams: give each a key.",
    "default_soft_budget": "POST /key/generate takes `soft_budget`; ALERT_WEBHOOK_URL is told.",
    "default_internal_user_params": _USERS,
    "default_end_user_params": _USERS,
    "cost_discount_config": "The full price is counted; write a lower one into `model_info`.",
    "priority_reservation": "`rpm_limit` and `tpm_limit` of keys share what there is.",
    "priority_reservation_settings": "`rpm_limit` and `tpm_limit` of keys share what there is.",
    "extra_spend_tag_headers": "The spend log says which key asked: give each purpose a key.",
    "routing_groups": "Every group goes by `router_settings.routing_strategy`.",
    "model_group_retry_policy": "`max_retries` in `litellm_params` says it for one model.",
    "model_group_affinity_config": "Each request goes by the strategy alone.",
    "optional_pre_call_checks": "Each request goes by the strategy, and by its deployments' limits.",
    "deployment_affinity_ttl_seconds": "Each request goes by the strategy alone.",
    "plugins": "There are no plugins.",
    "weights": "Write `weight` in `litellm_params`.",
    "default_model": "A request has to name its model.",
    "tag_filtering_match_any": "There is no routing by tags.",
    "tag_routing_prefix": "There is no routing by tags.",
    "enable_tag_filtering": "There is no routing by tags, and no deployment here has any.",
    "timezone": "Periods begin at midnight UTC.",
    "budget_reset_time": "Periods begin at midnight UTC.",
    "max_fallbacks_per_request": "Write `max_fallbacks`.",
    "mcp_aliases": _NO_ENDPOINT,
    "mcp_tool_search": _NO_ENDPOINT,
    "require_auth_for_metrics_endpoint": _METRICS,
    "max_user_parallel_requests": _KEYS,
    "route_all_chat_openai_to_responses": "A model that wants it is asked through /v1/responses by itself.",
    "use_chat_completions_url_for_anthropic_messages": "A model is asked in its own wire format.",
    "disable_auth": "ALLOW_ANONYMOUS does it, where nothing can be lost.",
    "redis_host": "Set REDIS_HOST.",
    "redis_port": "Set REDIS_PORT.",
    "redis_password": "Set REDIS_PASSWORD.",
    "redis_url": "Set REDIS_URL.",
    "redis_db": "Set REDIS_URL, the number after its last `/`.",
}
# The same of families.
FAMILIES: tuple[tuple[str, str], ...] = (
    ("health_check_", "Health is learnt from requests."),
    ("background_health_check_", "Health is learnt from requests."),
    ("maximum_", _RETENTION),
    ("database_", "The ledger keeps its own connections to DATABASE_URL."),
    ("proxy_", "Nothing is written in batches, and budgets begin anew with their period."),
    ("mcp_", _NO_ENDPOINT),
    ("enable_claude_code_gateway", _NO_ENDPOINT),
    ("claude_code_gateway_", _NO_ENDPOINT),
    ("enable_drain_", "SHUTDOWN_GRACE says how long running requests have after SIGTERM."),
    ("drain_", "SHUTDOWN_GRACE says how long running requests have after SIGTERM."),
    ("max_batch_file_", "/files and /batches are answered 404."),
    ("max_file_", "/files is answered 404; MAX_BODY_MB bounds a request."),
    ("allowed_file_", "/files is answered 404."),
    ("blocked_file_", "/files is answered 404."),
    ("skip_batch_", "/batches is answered 404."),
    ("disable_batch_", "/batches is answered 404."),
    ("vector_store_", "/vector_stores is answered 404."),
    ("search_tool_", "/search is answered 404."),
    ("require_end_user_mcp_", _NO_ENDPOINT),
    ("require_key_mcp_", _NO_ENDPOINT),
    ("team_metadata_", "There are no teams: give each a key."),
    ("custom_auth_", "Who has no key is refused; give each client a virtual key."),
    ("password_policy_", "There are no sign-ins: the dashboard takes the master key."),
    ("failed_login_", "FAILED_KEYS_PER_MINUTE limits wrong keys."),
    ("max_failed_login_", "FAILED_KEYS_PER_MINUTE limits wrong keys."),
    ("prometheus_", _METRICS),
    ("custom_prometheus_", _METRICS),
    ("alert", _ALERTS),
    ("ui_", "The dashboard takes the master key."),
    ("public_model_", "GET /v1/models lists the models."),
)

# Top-level sections of LiteLLM's.
SECTIONS: Mapping[str, str] = {
    "assistant_settings": "/assistants and /threads are answered 404.",
    "files_settings": "/files and /batches are answered 404.",
    "finetune_settings": "/fine_tuning is answered 404.",
    "batch_settings": "/batches is answered 404.",
    "default_vertex_config": "Write `vertex_project` and `vertex_location` in `litellm_params`.",
    "mcp_servers": "/mcp is answered 404.",
    "mcp_tools": "/mcp is answered 404.",
    "agents": _NO_ENDPOINT,
    "agent_list": _NO_ENDPOINT,
    "vector_store_registry": "/vector_stores is answered 404, and nothing is looked up for a request.",
    "vector_stores": "/vector_stores is answered 404, and nothing is looked up for a request.",
    "prompts": "A request brings its own prompt.",
    "search_tools": "/search is answered 404.",
    "sandbox_tools": _NO_ENDPOINT,
    "policy_attachments": "There are no policies.",
    "worker_registry": "Each gateway has its own config.",
    "fallbacks": "Write it in `router_settings`.",
    "cache": "Write it in `litellm_settings`.",
    "callbacks": "Write it in `litellm_settings`.",
    "success_callback": "Write it in `litellm_settings`.",
    "failure_callback": "Write it in `litellm_settings`.",
}


def stop(key: str, value: Any, *, has_master_key: bool) -> Stop | None:
    """Why a setting with this value stops the start. `key`: as in `STOPS`; the value not None."""
    found = STOPS.get(key)
    if found is None and not has_master_key:
        found = OTHER_AUTHENTICATION.get(key)
    return found if found and found.applies(value) else None


def instead(key: str) -> tuple[Level, str] | None:
    """("note" or "warning", what to say) of a setting that does nothing here; None of one that is not known."""
    name = key.rpartition(".")[2]
    if name in HARMLESS:
        return "note", f"does nothing here: {HARMLESS[name]}."
    if key in OTHER_AUTHENTICATION:
        return "warning", "is not done here: who has no key is refused. Give each client a virtual key."
    if key in STOPS:
        return "note", "promises nothing as it stands, and does nothing here."
    said = INSTEAD.get(name) or next((text for prefix, text in FAMILIES if name.startswith(prefix)), None)
    return None if said is None else ("warning", f"does nothing here. {said}")
