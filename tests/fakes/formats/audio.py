"""OpenAI's audio endpoints: a form in; JSON, text, subtitles or events out.

https://platform.openai.com/docs/api-reference/audio
"""

import re
from typing import Any

from ..record import Recorded
from .base import Events, Format, Match, Refusal, Setting, sse
from .openai import OPENAI

HEARD = "Hällo 世界"
USAGE = {
    "type": "tokens",
    "input_tokens": 14,
    "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
    "output_tokens": 5,
    "total_tokens": 19,
}
TEXTS = {
    "text": HEARD + "\n",
    "srt": f"1\n00:00:00,000 --> 00:00:02,000\n{HEARD}\n\n",
    "vtt": f"WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n{HEARD}\n\n",
}
_PATH = re.compile(r".*?(?:/openai/deployments/(?P<deployment>[^/]+))?/audio/(?P<name>transcriptions|translations)")
_FIELD = re.compile(rb'name="([a-z_]+)"\r\n\r\n(.*?)\r\n--', re.DOTALL)


def match(path: str) -> Match | None:
    found = _PATH.fullmatch(path)
    return Match(AUDIO, found["name"], found["deployment"]) if found else None


def fields(seen: Recorded) -> dict[str, str]:
    """The form's fields without its file."""
    return {name.decode(): value.decode() for name, value in _FIELD.findall(seen.raw)}


class Audio(Format):
    name = "audio"

    def model(self, seen: Recorded, captured: str | None) -> str | None:
        return captured or fields(seen).get("model")

    def refusal(self, seen: Recorded, endpoint: str) -> Refusal | None:
        if not seen.headers.get("content-type", "").startswith("multipart/form-data; boundary="):
            return Refusal(400, "We could not parse the form of your request.")
        if not seen.api_key:
            return Refusal(401, "You didn't provide an API key.")
        return None if b'name="file"; filename="' in seen.raw else Refusal(400, "Missing required parameter: 'file'.")

    def wants_stream(self, seen: Recorded, endpoint: str) -> bool:
        return endpoint == "transcriptions" and fields(seen).get("stream") == "true"

    def plain(self, seen: Recorded, endpoint: str, setting: Setting) -> Any:
        text = TEXTS.get(fields(seen).get("response_format", ""))
        return {"text": HEARD, "usage": USAGE} if text is None else text

    def events(self, seen: Recorded, endpoint: str, setting: Setting) -> Events:
        deltas = [sse({"type": "transcript.text.delta", "delta": part}) for part in (HEARD[:3], HEARD[3:])]
        return Events(content=deltas, tail=[sse({"type": "transcript.text.done", "text": HEARD, "usage": USAGE})])

    def error(self, status: int, message: str) -> dict[str, Any]:
        return OPENAI.error(status, message)


AUDIO = Audio()
