"""What the configuration says about everyone: the global budget and those of users."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .accounts import NO_LIMITS, Limits


@dataclass(frozen=True, slots=True)
class Policy:
    """`everyone`: all traffic, the master key's too. `each_user`: any `user_id` that `users` does not name."""

    everyone: Limits = NO_LIMITS
    each_user: Limits = NO_LIMITS
    users: Mapping[str, Limits] = field(default_factory=dict)

    def user(self, user_id: str) -> Limits:
        return self.users.get(user_id, self.each_user)
