"""Wrong keys, counted by the address they came from, in bounded memory.

An address that has sent too many gets 429 instead of 401, whatever was wrong with the key. Valid keys are not checked
here, so nobody is locked out by a neighbour behind the same address.
"""

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from .authenticate import presented_key
from .errors import ApiError

WINDOW_SECONDS = 60.0
# About 2 MB. Who comes from more addresses than that finds the oldest forgotten.
MAX_ADDRESSES = 10_000
_IPV6_NETWORK_BITS = 64  # what one customer gets


class FailedAuthLimiter:
    """`limit`: wrong keys of one address within a minute that are still answered 401."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()  # (end of the window, wrong keys in it)

    def refusal(
        self, refused: ApiError, header: Callable[[str], str | None], address: str, now: float
    ) -> tuple[ApiError, bool]:
        """The answer to a request that was `refused` with 401, and whether it was the one that passed the limit, which
        is logged. A request without a key is not counted. `now`: as in `failed`."""
        if presented_key(header) is None:
            return refused, False
        seconds, passed = self.failed(address, now)
        return (too_many(seconds) if seconds else refused), passed

    def failed(self, address: str, now: float) -> tuple[int, bool]:
        """Counts one. Seconds to wait, 0 while under the limit; and whether this was the one that passed it. `now`:
        seconds on any clock that does not go back."""
        name = _network(address)
        end, count = self._counts.pop(name, (0.0, 0))
        if end <= now:
            end, count = now + WINDOW_SECONDS, 0
        self._counts[name] = end, count + 1
        if len(self._counts) > MAX_ADDRESSES:
            self._counts.popitem(last=False)
        if count < self._limit:
            return 0, False
        return max(1, round(end - now)), count == self._limit


def too_many(retry_after: int) -> ApiError:
    return ApiError(
        429,
        "rate_limit_error",
        "Too many keys from this address were not valid. Try again later; a valid key is let in all the same.",
        code="too_many_failed_keys",
        headers=[("retry-after", str(retry_after)), ("x-should-retry", "false")],  # the key will be as wrong then
    )


def _network(address: str) -> str:
    """What is counted together: an IPv4 address, or an IPv6 network."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(IPv6Address(int(found) >> _IPV6_NETWORK_BITS << _IPV6_NETWORK_BITS))
    return str(found)
