"""Fakes of Bedrock, Cohere, Replicate and the OpenAI endpoints that `tests.fakes` does not have."""

import binascii
import datetime
import http.server
import json
import ssl
import struct
import tempfile
import threading
from typing import ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

WORD = "pineapple"
REPLICATE = "api.replicate.com:443"
Answer = tuple[str, bytes]  # content type, body


class OtherProviders(http.server.BaseHTTPRequestHandler):
    """`/<provider>/…`, and an HTTPS proxy to Replicate only, whose address is fixed inside LiteLLM.

    Class attributes record the traffic: `authorizations` by provider, and in `called_home` the hosts of rejected
    connections.
    """

    authorizations: ClassVar[dict[str, str]] = {}
    called_home: ClassVar[set[str]] = set()
    url: ClassVar[str]
    tls: ClassVar[ssl.SSLContext]

    @classmethod
    def start(cls) -> str:
        """Serves in a thread. Returns the address."""
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), cls)
        cls.url = f"http://127.0.0.1:{server.server_address[1]}"
        cls.tls = _self_signed(REPLICATE.partition(":")[0])
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return cls.url

    def provider(self) -> str:
        return self.path.split("/")[1]

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        request = json.loads(raw) if raw.startswith(b"{") else {}
        provider = self.provider()
        self.authorizations[provider] = self.headers.get("authorization") or ""
        kind, body = _ANSWERS[provider](request, self.path)
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def do_CONNECT(self) -> None:
        self.close_connection = True
        if self.path != REPLICATE:
            self.called_home.add(self.path)
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        _Replicate(self.tls.wrap_socket(self.connection, server_side=True), self.client_address, self.server)

    def log_message(self, format: str, *args: object) -> None:
        return


class _Replicate(OtherProviders):
    def provider(self) -> str:
        return "replicate"


def _bedrock(_request: dict, path: str) -> Answer:
    usage = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
    if not path.endswith("stream"):
        message = {"role": "assistant", "content": [{"text": WORD}]}
        done = {"stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}}
        return _json({"output": {"message": message}, **done})
    return "application/vnd.amazon.eventstream", b"".join(
        (
            _aws_event("messageStart", {"role": "assistant"}),
            _aws_event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": WORD}}),
            _aws_event("contentBlockStop", {"contentBlockIndex": 0}),
            _aws_event("messageStop", {"stopReason": "end_turn"}),
            _aws_event("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
        )
    )


def _cohere(request: dict, path: str) -> Answer:
    if path.endswith("/rerank"):
        return _json({"id": "r", "results": [{"index": 1, "relevance_score": 0.9}], "meta": {}})
    usage = {"tokens": {"input_tokens": 3, "output_tokens": 2}, "billed_units": {"input_tokens": 3, "output_tokens": 2}}
    if not request.get("stream"):
        message = {"role": "assistant", "content": [{"type": "text", "text": WORD}]}
        return _json({"id": "c", "finish_reason": "COMPLETE", "message": message, "usage": usage})
    events = (  # One JSON object per line: this LiteLLM does not parse server-sent events here.
        {"type": "message-start", "id": "c", "delta": {"message": {"role": "assistant", "content": []}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": WORD}}}},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}},
    )
    return "application/stream+json", "".join(json.dumps(event) + "\n" for event in events).encode()


def _replicate(_request: dict, path: str) -> Answer:
    done = {"id": "p1", "output": [WORD], "urls": {"get": f"{OtherProviders.url}/replicate/predictions/p1"}}
    return _json({**done, "status": "succeeded"} if path.endswith("/p1") else {**done, "status": "starting"})


def _openai(_request: dict, path: str) -> Answer:
    if path.endswith("/audio/speech"):
        return "audio/mpeg", WORD.encode()
    if path.endswith("/audio/transcriptions"):
        return _json({"text": WORD})
    if path.endswith("/images/generations"):
        return _json({"created": 1, "data": [{"url": f"https://images.example/{WORD}"}]})
    return _json(
        {"id": "modr", "model": WORD, "results": [{"flagged": False, "categories": {}, "category_scores": {}}]}
    )


_ANSWERS = {"bedrock": _bedrock, "cohere": _cohere, "replicate": _replicate, "openai": _openai}


def _json(body: object) -> Answer:
    return "application/json", json.dumps(body).encode()


def _aws_event(name: str, payload: dict) -> bytes:
    """One message of AWS' binary event stream: prelude, headers, payload, and a checksum of each part."""
    headers = b""
    for key, value in ((":event-type", name), (":content-type", "application/json"), (":message-type", "event")):
        headers += struct.pack("!B", len(key)) + key.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
    body = json.dumps(payload).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack("!I", binascii.crc32(prelude)) + headers + body
    return message + struct.pack("!I", binascii.crc32(message))


def private_key() -> tuple[rsa.RSAPrivateKey, bytes]:
    """A temporary key, and its PEM form."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key, key.private_bytes(serialization.Encoding.PEM, form, plain)


def _self_signed(host: str) -> ssl.SSLContext:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    (key, pem), now = private_key(), datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem + certificate.public_bytes(serialization.Encoding.PEM))
        file.flush()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file.name)
    return context
