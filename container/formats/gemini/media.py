"""Translates images, audio and documents in messages to Gemini's parts.

Inline data becomes `inlineData`. A URL becomes `fileData`, and Google fetches it. The proxy never fetches URLs from
clients, because it has network access that clients do not have.

Sources: https://ai.google.dev/gemini-api/docs/file-input-methods, https://ai.google.dev/api/caching#Part
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..shared.format import Unsupported

FILES_API = "https://generativelanguage.googleapis.com/v1beta/files/"

# https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/image-understanding and related pages
_TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp",
    "pdf": "application/pdf", "txt": "text/plain",
    "aac": "audio/aac", "flac": "audio/flac", "mp3": "audio/mpeg", "mpa": "audio/m4a", "mpga": "audio/mpga",
    "opus": "audio/opus", "pcm": "audio/pcm", "wav": "audio/wav", "ogg": "audio/ogg",
    "flv": "video/x-flv", "mov": "video/quicktime", "mp4": "video/mp4", "mpeg": "video/mpeg", "mpg": "video/mpg",
    "mpegps": "video/mpegps", "webm": "video/webm", "wmv": "video/wmv", "3gpp": "video/3gpp", "avi": "video/avi",
}  # fmt: skip
_YOUTUBE = re.compile(r"https://(?:[^/?#]*[.@])?(?:youtube\.com|youtube-nocookie\.com|youtu\.be)(?=[/:?#.]|$)", re.I)
_LEVELS = {"low": "LOW", "medium": "MEDIUM", "high": "HIGH", "ultra_high": "ULTRA_HIGH"}
_VIDEO = (("fps", "fps"), ("start_offset", "startOffset"), ("end_offset", "endOffset"))

Part = dict[str, Any]


def image(value: Any, *, vertex: bool) -> Part:
    """Translates `image_url`: a URL, or `{"url", "format"}`.

    A URL of unknown type is sent as a JPEG, because the budget counts it as an image and it must not be treated as a
    video. Raises Unsupported if the type is known not to be an image.
    """
    fields = value if isinstance(value, dict) else {"url": value}
    url, stated = fields.get("url"), _stated_type(fields)
    if stated is None and isinstance(url, str) and url.startswith(("https://", "gs://")):
        stated = _guessed_type(url) or "image/jpeg"
    if (stated is not None and not stated.startswith("image/")) or _is_googles(url):
        raise Unsupported("messages", "Content that may not be an image has to be sent as a 'file'.")
    return _located(url, stated, "image_url", vertex=vertex)


def _is_googles(url: Any) -> bool:
    """Whether Google determines the type of this URL by itself."""
    return isinstance(url, str) and (url.startswith(FILES_API) or bool(_YOUTUBE.match(url)))


def file(value: Any, *, vertex: bool) -> Part:
    """Translates `file`: `{"file_id" | "file_data", "format", "video_metadata"}`."""
    fields = value if isinstance(value, dict) else {}
    part = _located(fields.get("file_id") or fields.get("file_data"), _stated_type(fields), "file", vertex=vertex)
    video = fields.get("video_metadata")
    if isinstance(video, dict):
        said = {theirs: video[ours] for ours, theirs in _VIDEO if ours in video}
        if said:
            part["videoMetadata"] = said
    return part


def audio(value: Any) -> Part:
    """Translates `input_audio`: `{"data": base64, "format": "wav"}`."""
    fields = value if isinstance(value, dict) else {}
    data, format = fields.get("data"), fields.get("format")
    if not isinstance(data, str) or not isinstance(format, str):
        raise Unsupported("messages", "An 'input_audio' needs 'data' and 'format'.")
    return {"inlineData": {"mimeType": format if format.startswith("audio/") else f"audio/{format}", "data": data}}


def inline(url: Any, stated: str | None = None) -> Part | None:
    """Translates a `data:` URL. Returns None for other URLs, and raises Unsupported for a malformed one."""
    if not isinstance(url, str) or not url.startswith("data:"):
        return None
    head, comma, data = url.partition(",")
    kind, *parameters = head[5:].split(";")
    if not comma or "base64" not in parameters or not (stated or kind):
        raise Unsupported("messages", "A 'data:' URL has to be 'data:<type>;base64,<data>'.")
    return {"inlineData": {"mimeType": stated or kind, "data": data}}


def level(value: Any) -> str | None:
    """The resolution requested by the `detail` of an image or file."""
    detail = value.get("detail") if isinstance(value, dict) else None
    return _LEVELS.get(detail) if isinstance(detail, str) else None


def highest(levels: list[str]) -> str | None:
    return max(levels, key=list(_LEVELS.values()).index) if levels else None


def _located(url: Any, stated: str | None, field: str, *, vertex: bool) -> Part:
    if not isinstance(url, str) or not url:
        raise Unsupported("messages", f"An '{field}' of a message has neither data nor a URL.")
    found = inline(url, stated)
    if found is not None:
        return found
    if url.startswith(FILES_API):
        return {"fileData": {**({"mimeType": stated} if stated else {}), "fileUri": url}}
    if not url.startswith(("gs://", "https://")):
        raise Unsupported("messages", f"An '{field}' has to be a 'data:', 'https:' or 'gs:' URL for this model.")
    kind = stated or _guessed_type(url)
    if kind is None and (vertex or url.startswith("gs://")):
        raise Unsupported("messages", f"The address of an '{field}' does not tell its type: add '{field}.format'.")
    return {"fileData": {**({"mimeType": kind} if kind else {}), "fileUri": url}}


def _stated_type(fields: Mapping[str, Any]) -> str | None:
    for name in ("format", "mime_type", "content_type"):
        if isinstance(fields.get(name), str) and fields[name]:
            return "image/jpeg" if fields[name] == "image/jpg" else fields[name]
    return None


def _guessed_type(url: str) -> str | None:
    """Guesses from the file extension."""
    return _TYPES.get(urlsplit(url).path.rpartition(".")[2].lower())
