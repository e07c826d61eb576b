"""LiteLLM's settings that this gateway does not implement: those that only the engine has (`ENGINE`), those that
prevent the start because ignoring them would lose money, keys or a protection (`STOPS`), and those that have no effect
or that something else replaces (`HARMLESS`, `INSTEAD`).

Any config that LiteLLM accepts should start here too. The names come from LiteLLM
(https://docs.litellm.ai/docs/proxy/config_settings, `litellm.proxy._types.ConfigGeneralSettings`, `litellm.Router`).
docs/migration.md lists those that prevent the start.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from . import observability
from .document import Level

# With any of these settings, all model groups go through the engine.
ENGINE = (
    *observability.CALLBACK_SETTINGS,
    "guardrails",
    "modify_params",
    "model_alias_map",
    "ssl_verify",
    "ssl_certificate",
    "ssl_security_level",
    "ssl_ecdh_curve",
    "force_ipv4",
    "api_base",
    "api_key",
    "api_version",
    "organization",
    "headers",
    "custom_provider_map",
    "input_callback",
    "post_call_rules",
    "pre_call_rules",
)
# Options of LiteLLM's callbacks. They are passed to the engine but do not require it.
COMPANIONS = frozenset(
    f"litellm_settings.{name}"
    for name in (
        "turn_off_message_logging",
        "redact_user_api_key_info",
        "redact_messages_in_exceptions",
        "standard_logging_payload_excluded_fields",
        "global_disable_no_log_param",
        "langfuse_default_tags",
        "disable_streaming_logging",
        "s3_callback_params",
        "aws_sqs_callback_params",
        "datadog_params",
        "generic_logger_headers",
        "langsmith_batch_size",
        "banned_keywords_list",
        "blocked_user_list",
    )
)


# The limits that apply to a generated key.
KEY_LIMITS = frozenset(
    "max_budget soft_budget budget_duration tpm_limit rpm_limit max_parallel_requests models duration "
    "team_id key_type".split()
)


class Stop(NamedTuple):
    """Why a setting prevents the start.

    `lost` says what ignoring the setting would lose, phrased to follow its name. `mend` is the remedy. `applies`
    decides whether a value has any effect in LiteLLM.
    """

    lost: str
    mend: str
    applies: Callable[[Any], bool] = bool


def _limits_keys(value: Any) -> bool:
    return isinstance(value, dict) and any(value.get(name) not in (None, [], {}) for name in KEY_LIMITS)


def _is_on(value: Any) -> bool:
    return value not in (None, False, 0, "", [], {}) and str(value).lower() not in ("false", "off", "no", "0")


def _names_a_route_of_keys(value: Any) -> bool:
    """Whether the setting reserves a path for administrators that virtual keys can use here."""
    ours = ("/key", "/user", "/team", "/spend", "/global", "/config", "/organization", "/customer", "/model/")
    return bool(value) and not (
        isinstance(value, list) and all(isinstance(one, str) and one.startswith(ours) for one in value)
    )


_ONE_MODEL = Stop(
    "sends all requests of this kind to one model; here each request goes to the model it names.",
    "List only that model, or map the names that clients use to it in `router_settings.model_group_alias`.",
)
_NO_MASTER_KEY = "authenticates clients; without a master key, anyone would have access."
_SET_A_MASTER_KEY = "Set LITELLM_MASTER_KEY, and give each client a virtual key."

# By "section.name", or by section name.
STOPS: Mapping[str, Stop] = {
    "general_settings.allowed_ips": Stop(
        "restricts access to these addresses; here any address would have access.",
        "Restrict addresses in front of the gateway (firewall, reverse proxy), and remove it.",
    ),
    "general_settings.completion_model": _ONE_MODEL,
    "general_settings.embedding_model": _ONE_MODEL,
    "general_settings.image_generation_model": _ONE_MODEL,
    "general_settings.moderation_model": _ONE_MODEL,
    "general_settings.enforced_params": Stop(
        "rejects requests without these fields; here they would be accepted.", "Remove it to accept them."
    ),
    "general_settings.admin_only_routes": Stop(
        "reserves these paths for administrators; here keys can use them.",
        "Limit each key to the `models` it needs, and remove it.",
        _names_a_route_of_keys,
    ),
    "general_settings.enforce_fallback_model_access": Stop(
        "keeps keys from fallback models that they may not use; here the config's fallbacks apply to every key.",
        "Leave restricted models out of `fallbacks`, and remove it.",
        _is_on,
    ),
    "litellm_settings.tag_budget_config": Stop(
        "limits the spend of requests with a tag; there is no such limit here.",
        "Use one key with a `max_budget` per purpose, and remove it.",
    ),
    "litellm_settings.cost_margin_config": Stop(
        "adds a margin to the provider's price; here the provider's price would be charged.",
        "Set the price to charge in each `model_info`, and remove it.",
    ),
    "litellm_settings.upperbound_key_generate_params": Stop(
        "limits every generated key; here a key has only the limits sent to `/key/generate`.",
        "Send the limits with every `/key/generate`, or set `max_user_budget`, and remove it.",
        _limits_keys,
    ),
    "litellm_settings.default_key_generate_params": Stop(
        "limits keys generated without limits; here a key has only the limits sent to `/key/generate`.",
        "Send the limits with every `/key/generate`, and remove it.",
        _limits_keys,
    ),
    "router_settings.guardrail_list": Stop(
        "lists guardrails; here requests would bypass them.", "Move them to the `guardrails` section."
    ),
    "policies": Stop(
        "assigns guardrails; here requests would bypass them.",
        "Set `default_on: true` on the guardrails, and remove it.",
    ),
}

# Authentication other than by keys. With a master key such clients are refused, so nothing is lost.
OTHER_AUTHENTICATION: Mapping[str, Stop] = {
    f"general_settings.{name}": Stop(_NO_MASTER_KEY, _SET_A_MASTER_KEY, _is_on)
    for name in (
        "custom_auth",
        "enable_oauth2_auth",
        "enable_oauth2_proxy_auth",
        "enforce_rbac",
    )
}


def stop(key: str, value: Any, *, has_master_key: bool) -> Stop | None:
    """Why a setting with this value prevents the start, or None. `key` is as in `STOPS`; `value` is not None."""
    found = STOPS.get(key)
    if found is None and not has_master_key:
        found = OTHER_AUTHENTICATION.get(key)
    return found if found and found.applies(value) else None


_LOG_LEVEL = "use LITELLM_LOG_LEVEL"
_FROM_REQUESTS = "health is inferred from requests"
_LEDGER = "the ledger needs this data"
_ALWAYS = "it is always on"
_NEVER = "it is never allowed"
_TEAMS = "Give each team its own: `/team/new`, or `general_settings.teams`."
_METADATA = "A team's metadata is any JSON object."

# Settings that need no replacement, with the reason. Reported as notes.
HARMLESS: Mapping[str, str] = {
    "set_verbose": _LOG_LEVEL,
    "debug_level": _LOG_LEVEL,
    "detailed_debug": _LOG_LEVEL,
    "log_level": _LOG_LEVEL,
    "telemetry": "there is no telemetry",
    "suppress_debug_info": "there is no debug output",
    "cancel_on_disconnect": "provider calls are always cancelled when the client disconnects",
    "enable_pre_call_checks": "deployments that are off are always skipped",
    "enable_pre_call_check": "deployments that are off are always skipped",
    "proxy_batch_write_at": "no writes are deferred",
    "background_health_checks": _FROM_REQUESTS,
    "use_shared_health_check": _FROM_REQUESTS,
    "enable_health_check_routing": _FROM_REQUESTS,
    "model_list_healthy_only": _FROM_REQUESTS,
    "disable_spend_logs": _LEDGER,
    "disable_spend_updates": _LEDGER,
    "disable_error_logs": _LEDGER,
    "disable_end_user_cost_tracking": _LEDGER,
    "disable_end_user_cost_tracking_prometheus_only": _LEDGER,
    "disable_reset_budget": "budgets always reset at the end of their period",
    "disable_budget_reservation": "a request's maximum cost is always reserved",
    "fail_closed_budget_enforcement": _ALWAYS,
    "fail_closed_rate_limit_enforcement": _ALWAYS,
    "store_model_in_db": "models come from the config file",
    "supported_db_objects": "models come from the config file",
    "disable_prisma_schema_update": "there is no Prisma here",
    "use_redis_transaction_buffer": "the ledger needs no buffer",
    "reject_clientside_metadata_tags": "a client's tags can only add limits",
    "allow_client_side_credentials": _NEVER,
    "disable_responses_id_security": _NEVER,
    "allow_unmanaged_response_ids": _NEVER,
    "disable_master_key_return": "the master key is never shown",
    "disable_adding_master_key_hash_to_db": _ALWAYS,
    "disable_custom_api_keys": "only the master key can create keys",
    "key_generation_settings": "only the master key can create keys",
    "custom_key_generate": "only the master key can create keys",
    "custom_key_update": "only the master key can update keys",
    "custom_key_policy": "only the master key can create keys",
    "default_team_disabled": "keys without a team are always allowed",
    "use_team_public_model_name": "teams have no models of their own",
    "apply_user_budget_to_team_keys": "a user's budget holds for all of its keys",
    "disable_auto_add_proxy_admin_to_teams": "nobody joins a team on its own",
    "disable_key_generate_for_org_admin": "only the master key can create keys",
    "scheduled_job_stagger": "no job runs on a schedule",
    "track_unmanaged_batch_cost": "/batches returns 404",
    "transcribe_media_buckets": "there are no pass-through endpoints",
    "disable_bedrock_agent_runtime_passthrough": _ALWAYS,
    "passthrough_managed_object_ids": "there are no pass-through endpoints",
    "enable_openai_websocket_passthrough": "there are no pass-through endpoints",
    "hide_default_credentials_hint": "the dashboard shows no such hint",
    "disable_retry_on_max_parallel_request_limit_error": _ALWAYS,
    "expose_fallback_errors_to_caller": "clients receive the error of the last attempt",
    "user_url_validation": "the gateway never calls a URL that a client sends",
    "user_url_allowed_hosts": "the gateway never calls a URL that a client sends",
    "provider_url_destination_allowed_hosts": "the gateway never calls a URL that a client sends",
    "user_api_key_cache_ttl": "key changes take effect on the next request",
    "user_api_key_cache_max_size": "key changes take effect on the next request",
    "enable_redis_auth_cache": "key changes take effect on the next request",
    "infer_model_from_keys": "models come from the config file",
    "ignore_invalid_deployments": _ALWAYS,
    "router_general_settings": "there is nothing to configure",
    "client_ttl": "connections are managed automatically",
    "polling_interval": "there is no queue",
    "default_priority": "there is no queue",
    "cache_responses": "use litellm_settings.cache",
    "cache_kwargs": "use litellm_settings.cache_params",
    "caching_groups": "each model's responses are cached separately",
    "enable_loadbalancing": _ALWAYS,
    "enable_weighted_failover": "the next healthy deployment is always tried",
    "search_tools": "there is no endpoint for it",
    "assistants_config": "there is no endpoint for it",
    "disable_hf_tokenizer_download": _ALWAYS,
    "drop_unknown_params": "use drop_params",
    "service_callback": "/metrics and the log report it",
    "service_callbacks": "/metrics and the log report it",
    "dangerously_permit_weak_or_unset_master_key": "use ALLOW_ANONYMOUS or LOCAL_DEVELOPMENT",
    "litellm_license": "no license is needed",
    "max_ui_session_budget": "the dashboard calls no models",
    "ui_access_mode": "the dashboard requires the master key",
    "disable_copilot_system_to_assistant": "it has no effect in LiteLLM either",
}

_SIGN_IN = "People sign in by OpenID Connect: set OIDC_ISSUER, see docs/sign-in.md."
_ALERTS = "Set `alerting: [slack]` and SLACK_WEBHOOK_URL, or ALERT_WEBHOOK_URL, to receive every kind of alert."
_SECRETS = "Secrets come from the environment. Set each variable referenced as `os.environ/…`."
_KEYS = "Set `max_parallel_requests`, `rpm_limit` or `tpm_limit` on keys, or `max_parallel_requests` on deployments."
_NOT_FORWARDED = "Client headers are not forwarded to providers. Set `extra_headers` in `litellm_params`."
_NO_ENDPOINT = "Requests to its endpoints return 404."
_METRICS = "GET /metrics has its own metrics. METRICS_PUBLIC controls who can read them."
_USERS = "Give keys a `user_id`, and set `litellm_settings.max_user_budget` to limit the spend of each user."
_RETENTION = "SPEND_LOG_RETENTION_DAYS sets how long the spend log is kept. Older entries are deleted automatically."

# Settings that something else replaces. Reported as warnings.
INSTEAD: Mapping[str, str] = {
    "alerting_config": _ALERTS,
    "alert_types": _ALERTS,
    "alert_to_webhook_url": _ALERTS,
    "alerting_args": _ALERTS,
    "alerting_threshold": _ALERTS,
    "alert_type_config": _ALERTS,
    "spend_report_frequency": "Use `litellm-router spend` or GET /spend/activity.",
    "key_management_system": _SECRETS,
    "key_management_settings": _SECRETS,
    "use_google_kms": _SECRETS,
    "use_azure_key_vault": _SECRETS,
    "max_parallel_requests": _KEYS,
    "global_max_parallel_requests": _KEYS,
    "max_in_flight_requests_per_worker": _KEYS,
    "max_queued_requests_per_worker": _KEYS,
    "token_rate_limit_type": "`tpm_limit` counts input and output tokens.",
    "max_response_size_mb": "Set an output limit (`max_tokens` in `litellm_params`).",
    "store_prompts_in_spend_logs": "Set `general_settings.request_logging: {contents: true}`.",
    "store_audit_logs": "Every key change writes an `admin` line to the log.",
    "allow_requests_on_db_unavailable": "Without its ledger the gateway cannot enforce budgets, so it returns 503.",
    "allow_user_auth": "Each user needs a key. Create keys with POST /key/generate.",
    "public_routes": "/health, /openapi.json and, with PUBLIC_MODELS, /v1/models need no key.",
    "allowed_routes": "Keys can call every model endpoint. Only the master key can use the admin API.",
    "litellm_key_header_name": "Clients send keys as `Authorization: Bearer` or `x-api-key`.",
    "enforce_user_param": "Requests without `user` are accepted. Give each user a key with a `user_id`.",
    "use_x_forwarded_for": "TRUSTED_PROXIES lists the proxies whose X-Forwarded-For is trusted.",
    "trusted_proxy_ranges": "TRUSTED_PROXIES lists the proxies whose X-Forwarded-For is trusted.",
    "forward_client_headers_to_llm_api": _NOT_FORWARDED,
    "forward_llm_provider_auth_headers": _NOT_FORWARDED,
    "forward_openai_org_id": "Set `organization` in `litellm_params`.",
    "forward_traceparent_to_llm_provider": "Traces show which provider was called (docs/traces.md).",
    "add_user_information_to_llm_headers": "The gateway adds no user information to provider requests.",
    "always_include_stream_usage": "Clients can send `stream_options: {include_usage: true}`.",
    "include_cost_in_streaming_usage": "The `x-litellm-response-cost` header and GET /spend/logs contain the cost.",
    "otel": "Set OTEL_EXPORTER_OTLP_ENDPOINT (docs/traces.md).",
    "tracing": "Set OTEL_EXPORTER_OTLP_ENDPOINT (docs/traces.md).",
    "pass_through_endpoints": "Requests to these paths return 404.",
    "use_client_credentials_pass_through_routes": _NO_ENDPOINT,
    "pass_through_request_timeout": _NO_ENDPOINT,
    "responses_websocket_session_limit_seconds": _NO_ENDPOINT,
    "service_account_settings": "There are no service accounts. Set limits on each key.",
    "role_permissions": "A key's `models` lists the models it can use.",
    "oauth2_config_mappings": "Give each client a virtual key.",
    "include_call_id_in_error_body": "The `x-litellm-call-id` header contains it.",
    "missing_session_id": "Each request has an ID in `x-litellm-call-id`.",
    "enable_public_model_hub": "GET /v1/models lists the models.",
    "spend_logs_metadata_fields": "docs/ledger.md lists the fields of the spend log.",
    "use_spend_logs_partitioning": "SPEND_LOG_RETENTION_DAYS sets how long the spend log is kept.",
    "spend_capture_rate_check": "GET /spend/logs shows the cost of each request.",
    "allow_public_health_readiness_details": "GET /health/readiness contains only public details.",
    "disable_env_credential_login": _SIGN_IN,
    "disable_password_login_when_sso_enabled": _SIGN_IN,
    "auto_redirect_ui_login_to_sso": _SIGN_IN,
    "allow_cli_sso_verification_uri_complete": _SIGN_IN,
    "admission_queue_timeout_seconds": "Requests over a limit go to another deployment, or get a 429 or 503.",
    "enable_mcp_registry": _NO_ENDPOINT,
    "user_mcp_management_mode": _NO_ENDPOINT,
    "custom_team_metadata_validate": _METADATA,
    "max_retries": "Use `num_retries`.",
    "custom_sso": _SIGN_IN,
    "custom_ui_sso_sign_in_handler": _SIGN_IN,
    "control_plane_url": "Each gateway has its own config.",
    "default_team_settings": _TEAMS,
    "default_team_params": _TEAMS,
    "default_soft_budget": "Send `soft_budget` to POST /key/generate. Alerts go to ALERT_WEBHOOK_URL.",
    "default_internal_user_params": _USERS,
    "default_end_user_params": _USERS,
    "cost_discount_config": "Spend is counted at the full price. Set a lower price in `model_info`.",
    "priority_reservation": "Divide the capacity with `rpm_limit` and `tpm_limit` on keys.",
    "priority_reservation_settings": "Divide the capacity with `rpm_limit` and `tpm_limit` on keys.",
    "extra_spend_tag_headers": "The spend log records the key of each request. Use one key per purpose.",
    "routing_groups": "All groups use `router_settings.routing_strategy`.",
    "model_group_retry_policy": "Set `max_retries` in the `litellm_params` of a model.",
    "model_group_affinity_config": "Only the routing strategy chooses the deployment.",
    "optional_pre_call_checks": "The routing strategy and the deployments' limits choose the deployment.",
    "deployment_affinity_ttl_seconds": "Only the routing strategy chooses the deployment.",
    "plugins": "There are no plugins.",
    "weights": "Set `weight` in `litellm_params`.",
    "default_model": "Requests must name a model.",
    "tag_filtering_match_any": "There is no tag-based routing.",
    "tag_routing_prefix": "There is no tag-based routing.",
    "enable_tag_filtering": "There is no tag-based routing, and no deployment in this config has tags.",
    "timezone": "Periods start at midnight UTC.",
    "budget_reset_time": "Periods start at midnight UTC.",
    "max_fallbacks_per_request": "Use `max_fallbacks`.",
    "mcp_aliases": _NO_ENDPOINT,
    "mcp_tool_search": _NO_ENDPOINT,
    "require_auth_for_metrics_endpoint": _METRICS,
    "max_user_parallel_requests": _KEYS,
    "route_all_chat_openai_to_responses": "Models that require /v1/responses use it automatically.",
    "use_chat_completions_url_for_anthropic_messages": "Each model is called in its own wire format.",
    "disable_auth": "Use ALLOW_ANONYMOUS, which requires a `max_budget`.",
    "redis_host": "Set REDIS_HOST.",
    "redis_port": "Set REDIS_PORT.",
    "redis_password": "Set REDIS_PASSWORD.",
    "redis_url": "Set REDIS_URL.",
    "redis_db": "Set REDIS_URL, with the database number after its last `/`.",
}
# Replacements by prefix.
FAMILIES: tuple[tuple[str, str], ...] = (
    ("health_check_", "Health is inferred from requests."),
    ("background_health_check_", "Health is inferred from requests."),
    ("maximum_", _RETENTION),
    ("database_", "The ledger manages its own connections to DATABASE_URL."),
    ("proxy_", "No writes are deferred, and budgets reset at the end of their period."),
    ("mcp_", _NO_ENDPOINT),
    ("enable_claude_code_gateway", _NO_ENDPOINT),
    ("claude_code_gateway_", _NO_ENDPOINT),
    ("enable_drain_", "SHUTDOWN_GRACE sets how long running requests may take after SIGTERM."),
    ("drain_", "SHUTDOWN_GRACE sets how long running requests may take after SIGTERM."),
    ("max_batch_file_", "/files and /batches return 404."),
    ("max_file_", "/files returns 404. MAX_BODY_MB limits the size of a request."),
    ("allowed_file_", "/files returns 404."),
    ("blocked_file_", "/files returns 404."),
    ("skip_batch_", "/batches returns 404."),
    ("disable_batch_", "/batches returns 404."),
    ("vector_store_", "/vector_stores returns 404."),
    ("search_tool_", "/search returns 404."),
    ("require_end_user_mcp_", _NO_ENDPOINT),
    ("require_key_mcp_", _NO_ENDPOINT),
    ("team_metadata_", _METADATA),
    ("custom_auth_", "Requests without a key are rejected. Give each client a virtual key."),
    ("password_policy_", _SIGN_IN),
    ("failed_login_", "FAILED_KEYS_PER_MINUTE limits attempts with wrong keys."),
    ("max_failed_login_", "FAILED_KEYS_PER_MINUTE limits attempts with wrong keys."),
    ("prometheus_", _METRICS),
    ("custom_prometheus_", _METRICS),
    ("alert", _ALERTS),
    ("ui_", "The dashboard requires the master key."),
    ("public_model_", "GET /v1/models lists the models."),
)

# Top-level sections of LiteLLM.
SECTIONS: Mapping[str, str] = {
    "assistant_settings": "/assistants and /threads return 404.",
    "files_settings": "/files and /batches return 404.",
    "finetune_settings": "/fine_tuning returns 404.",
    "batch_settings": "/batches returns 404.",
    "default_vertex_config": "Set `vertex_project` and `vertex_location` in `litellm_params`.",
    "mcp_servers": "/mcp returns 404.",
    "mcp_tools": "/mcp returns 404.",
    "agents": _NO_ENDPOINT,
    "agent_list": _NO_ENDPOINT,
    "vector_store_registry": "/vector_stores returns 404, and requests are not augmented with search results.",
    "vector_stores": "/vector_stores returns 404, and requests are not augmented with search results.",
    "prompts": "There is no prompt management. Clients send the whole prompt.",
    "search_tools": "/search returns 404.",
    "sandbox_tools": _NO_ENDPOINT,
    "policy_attachments": "There are no policies.",
    "worker_registry": "Each gateway has its own config.",
    "fallbacks": "Move it to `router_settings`.",
    "cache": "Move it to `litellm_settings`.",
    "callbacks": "Move it to `litellm_settings`.",
    "success_callback": "Move it to `litellm_settings`.",
    "failure_callback": "Move it to `litellm_settings`.",
}


def instead(key: str) -> tuple[Level, str] | None:
    """The level ("note" or "warning") and the message for a setting that has no effect, or None if it is unknown."""
    name = key.rpartition(".")[2]
    if name in HARMLESS:
        return "note", f"does nothing here: {HARMLESS[name]}."
    if key in OTHER_AUTHENTICATION:
        return "warning", "does nothing here: requests without a key are rejected. Give each client a virtual key."
    if key in STOPS:
        return "note", "does nothing here, but nothing is lost with this value."
    said = INSTEAD.get(name) or next((text for prefix, text in FAMILIES if name.startswith(prefix)), None)
    return None if said is None else ("warning", f"does nothing here. {said}")
