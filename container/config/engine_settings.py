"""`litellm_settings` that the engine gets, as nothing but LiteLLM can do what they say."""

from . import callbacks

# Settings of LiteLLM that only LiteLLM can honour: they send every model group through the engine.
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
# They say how callbacks of LiteLLM's are told, so they go along to the engine and send nothing there by themselves.
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
