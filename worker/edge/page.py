"""The operator's page, as a JS response."""

from typing import Any

from api.endpoints import dashboard_file
from api.errors import unknown_path
from runtime.javascript import NULL, js, js_headers


def page_response(path: str, if_none_match: str | None) -> Any:
    """Raises ApiError 404."""
    import dashboard  # an isolate that shows it to nobody does without

    answer = dashboard.answer(dashboard_file(path) or dashboard.PAGE, if_none_match)
    if answer is None:
        raise unknown_path(path)
    headers = js_headers([("content-type", answer.content_type), *answer.headers])
    body = answer.content.decode() if answer.content else NULL
    return js.Response.new(body, status=answer.status, headers=headers)
