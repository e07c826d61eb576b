"""Fields that only say whose a request is, or how it may be cached: an answer is no other without them.

They are left out, without a word, for a provider that does not know them.
"""

LABELS = frozenset(
    "user metadata store safety_identifier prompt_cache_key prompt_cache_retention prompt_cache_options "
    "prompt_cache_isolation_key client_metadata session_id trace_id user_id extra_metadata".split()
)
