"""What a request says about itself: its tags and its end user. Both can only add accounts that limit it.

The claims of a JWT, which say who the caller is, are those of `identity.authenticator`.

The fields and headers are LiteLLM's (https://docs.litellm.ai/docs/proxy/cost_tracking, …/proxy/customers). `metadata`
also belongs to the provider, whose own `tags` may contain anything, so invalid tags are dropped instead of refusing the
request.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .fields import MAX_TAG, MAX_TAGS, is_printable

TAGS_HEADER = "x-litellm-tags"
END_USER_HEADERS = ("x-litellm-customer-id", "x-litellm-end-user-id")
# The fields of a body that `of_body` reads.
FIELDS = frozenset("user safety_identifier metadata litellm_metadata tags".split())
# Half of a pair, which no database takes for text.
HALF = re.compile("[\ud800-\udfff]")
# A longer name, or one that is not a line of text, is counted under its hash.
MAX_END_USER = 256


class Claims(NamedTuple):
    """`tags`: a JSON list, '' for none. `end_user`: '' for none."""

    tags: str = ""
    end_user: str = ""


NO_CLAIMS = Claims()


def of_body(body: Mapping[str, Any]) -> Claims:
    """Reads the fields of a request as its client sent it."""
    if FIELDS.isdisjoint(body):
        return NO_CLAIMS
    metadata, own = _object(body.get("metadata")), _object(body.get("litellm_metadata"))
    lists = (metadata.get("tags"), own.get("tags"), body.get("tags"))
    tags = _tags(tag for some in lists if isinstance(some, list) for tag in some[:MAX_TAGS])
    names = (body.get("user"), own.get("user"), metadata.get("user_id"), body.get("safety_identifier"))
    return Claims(tags, next(filter(None, map(_name, names)), ""))


def with_headers(claims: Claims, headers: Mapping[str, str], user_headers: Sequence[str] = ()) -> Claims:
    """Adds what the headers say, which takes precedence for the end user. `user_headers`: the configuration's names of
    headers with an end user. Names of headers are in lower case, or `headers` ignores case."""
    for name in (*END_USER_HEADERS, *user_headers):
        end_user = _name(headers.get(name))
        if end_user:
            claims = claims._replace(end_user=end_user)
            break
    tags = headers.get(TAGS_HEADER)
    if tags:
        of_body = json.loads(claims.tags) if claims.tags else []
        claims = claims._replace(tags=_tags([*of_body, *(tag.strip() for tag in tags.split(",")[:MAX_TAGS])]))
    return claims


def together(of_key: str, of_request: str) -> str:
    """Returns a line's distinct tags as a JSON list. `of_key`: a JSON list. `of_request`: `Claims.tags`."""
    if not of_request:
        return of_key
    if of_key == "[]":
        return of_request
    return json.dumps(list(dict.fromkeys([*json.loads(of_key), *json.loads(of_request)])))


def _tags(tags: Iterable[Any]) -> str:
    found = [*dict.fromkeys(tag for tag in tags if is_printable(tag, MAX_TAG) and not HALF.search(tag))][:MAX_TAGS]
    return json.dumps(found) if found else ""


def _object(value: Any) -> Mapping[str, Any]:
    """Forms and some clients send an object as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, Mapping) else {}


def _name(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return ""
    name = value.strip()
    if not name or (is_printable(name, MAX_END_USER) and not HALF.search(name)):
        return name
    return "sha256:" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
