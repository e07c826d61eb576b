"""The cookies of the dashboard's sessions: which one counts."""

import pytest

from worker.core.api import auth

URL = "https://gateway.example"
NAME = "__Host-litellm-router-session"
ID = "A" * 43


def presented(cookies: str) -> str | None:
    return auth.presented({"cookie": cookies}.get, URL)


@pytest.mark.parametrize("cookies", [f"{NAME}={ID}", f"a=b; {NAME}={ID}; c=d", f'a="b;{NAME}={ID}', f"{NAME}={ID};\t"])
def test_a_browsers_cookie_counts(cookies: str):
    assert presented(cookies) == auth.hashed(ID)


@pytest.mark.parametrize(
    "cookies",
    [
        f"litellm-router-session={ID}",
        f"a=b, {NAME}={ID}",
        f"a=b,{NAME}={ID}",
        f'a="b,{NAME}={ID}"',
        f"\xa0{NAME}={ID}",
        f"a=b; \x85{NAME}={ID}",
        f"\u2000{NAME}={ID}",
        f"\u3000{NAME}={ID}",
        f"{NAME}\xa0={ID}",
        f"={NAME}={ID}",
        f"{NAME.lower()}={ID}",
        f"{NAME}={ID}; {NAME}={'B' * 43}",
        f"{NAME}={ID}\xa0",
        f"{NAME}={ID},",
    ],
)
def test_a_cookie_that_a_neighbor_can_set_does_not(cookies: str):
    """Browsers keep other hosts from setting cookies that begin with `__Host-`, but not from values and names like
    these."""
    assert presented(cookies) is None
