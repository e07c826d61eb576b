"""Where Redis is, as the environment says it."""

from collections.abc import Mapping
from urllib.parse import quote

VARIABLES = ("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_USERNAME", "REDIS_PASSWORD")


def redis_url(environment: Mapping[str, str]) -> str | None:
    """`REDIS_URL`, or what `REDIS_HOST`, `REDIS_PORT`, `REDIS_USERNAME` and `REDIS_PASSWORD` make up; None without."""
    url = environment.get("REDIS_URL")
    if url:
        return url
    host = environment.get("REDIS_HOST")
    if not host:
        return None
    user, password = environment.get("REDIS_USERNAME", ""), environment.get("REDIS_PASSWORD", "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if password else ""
    return f"redis://{login}{host}:{environment.get('REDIS_PORT') or 6379}"
