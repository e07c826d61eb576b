"""LiteLLM settings that prevent the start, because ignoring them would lose money, keys or a protection.

docs/migration.md lists them.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

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
