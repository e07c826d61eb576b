"""Which paths there are, what may be done with them, and who answers.

Every path exists with and without the `/v1` prefix. Nothing is normalised: `//`, `..` and encoded slashes are
simply not in the table.
"""

from typing import NamedTuple
from urllib.parse import unquote

from .errors import unknown_path, wrong_method


class Endpoint(NamedTuple):
    """`name` as the handlers know it; `path` without `/v1`; `public` needs no key; `engine`: LiteLLM answers it."""

    name: str
    path: str
    methods: tuple[str, ...]
    public: bool = False
    engine: bool = False


def _get(name: str, path: str, *, public: bool = False) -> Endpoint:
    return Endpoint(name, path, ("GET", "HEAD"), public=public)


def _post(name: str, path: str, *, engine: bool = False) -> Endpoint:
    return Endpoint(name, path, ("POST",), engine=engine)


TABLE: dict[str, Endpoint] = {
    e.path: e
    for e in (
        _get("root", "/", public=True),
        _get("health", "/health", public=True),
        _get("liveliness", "/health/liveliness", public=True),
        _get("readiness", "/health/readiness", public=True),
        _get("models", "/models"),
        _post("chat_completions", "/chat/completions"),
        _post("completions", "/completions"),
        _post("embeddings", "/embeddings"),
        # An allow-list: LiteLLM serves some 150 paths, many of them administration.
        _post("messages", "/messages", engine=True),
        _post("count_tokens", "/messages/count_tokens", engine=True),
        _post("responses", "/responses", engine=True),
        _post("image_generation", "/images/generations", engine=True),
        _post("image_edit", "/images/edits", engine=True),
        _post("image_variation", "/images/variations", engine=True),
        _post("speech", "/audio/speech", engine=True),
        _post("transcription", "/audio/transcriptions", engine=True),
        _post("translation", "/audio/translations", engine=True),
        _post("rerank", "/rerank", engine=True),
        _post("moderations", "/moderations", engine=True),
    )
}
MODEL = _get("model", "/models/{id}")


def find(method: str, path: str) -> Endpoint:
    """The endpoint at `path` (raw, without query). Raises ApiError 404, or 405 with `Allow`."""
    bare = path[3:] if path.startswith("/v1/") else path
    endpoint = TABLE.get(bare)
    if endpoint is None:
        if not bare.startswith("/models/") or len(bare) == len("/models/"):
            raise unknown_path(path)
        endpoint = MODEL
    if method not in endpoint.methods:
        raise wrong_method(method, path, endpoint.methods)
    return endpoint


def model_id(path: str) -> str:
    """The `{id}` of `/models/{id}`, decoded; it may hold slashes, as in `azure/gpt-4o`."""
    return unquote(path.split("/models/", 1)[1])
