"""`litellm_settings` that are passed to the engine, because only LiteLLM implements them."""

from . import callbacks

# With any of these settings, all model groups go through the engine.
ENGINE = (
    *callbacks.SETTINGS,
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
