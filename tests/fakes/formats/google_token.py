"""Google's OAuth token endpoint. A service account key names it in `token_uri`, and Vertex AI clients call it first."""

from typing import Any

from ..record import Recorded
from .base import Events, Format, Match, Refusal, Setting

ACCESS_TOKEN = "ya29.fake-access-token"


def match(path: str) -> Match | None:
    return Match(GOOGLE_TOKEN, "token") if path == "/token" else None


class GoogleToken(Format):
    name = "google_token"

    def refusal(self, seen: Recorded, endpoint: str) -> Refusal | None:
        if b"assertion=" not in seen.raw:
            return Refusal(400, "invalid_grant")
        return None

    def wants_stream(self, seen: Recorded, endpoint: str) -> bool:
        return False

    def plain(self, seen: Recorded, endpoint: str, setting: Setting) -> dict[str, Any]:
        return {"access_token": ACCESS_TOKEN, "expires_in": 3600, "token_type": "Bearer"}

    def events(self, seen: Recorded, endpoint: str, setting: Setting) -> Events:
        raise NotImplementedError("tokens are not streamed")

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": message}


GOOGLE_TOKEN = GoogleToken()
