"""The edge's grant: the reservation it made for a request, and the models that the key may use."""

from collections.abc import Mapping

from worker.core.api.errors import ApiError, service_unavailable
from worker.core.protocol import CATALOG_HEADER, GRANT_HEADER, EdgeGrant, catalog_of


def read(header: str | None) -> EdgeGrant:
    """Raises ApiError 500 for a malformed grant: a bug between edge and container, not a client error."""
    if header is None:
        return EdgeGrant()
    try:
        return EdgeGrant.decode(header)
    except (ValueError, TypeError):
        raise misfit(f"The {GRANT_HEADER} header cannot be read.") from None


def check_catalog(headers: Mapping[str, str], own: str, grant: EdgeGrant) -> None:
    """Raises ApiError 503 if the edge has a different catalog and so reserves with different prices and models."""
    theirs = headers.get(CATALOG_HEADER)
    if theirs != catalog_of(own, grant):
        raise service_unavailable(
            "The edge and its container have different configurations "
            f"(catalog {(theirs or 'unknown')[:32]} there, {own} here). Deploy again, so that both have the same.",
            retry_after=30,
        )


def misfit(what: str) -> ApiError:
    """An error between the two halves of a deployment, which no client can fix."""
    return ApiError(
        500,
        "server_error",
        f"{what} The edge and its container are incompatible. Deploy again, so that both have the same version.",
        code="version_mismatch",
        headers=[("retry-after", "30")],
    )
